import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { onStopSignal } from '../../scripts/lib/command.ts';
import { type Body, bodyRoute } from './bodies.ts';
import type { RunningGateway } from './gateway.ts';
import type { LoadPlan, LoadResult } from './load.ts';
import { readUsage } from './process-usage.ts';
import type { ProxyOptions, RunningProxy } from './proxies.ts';
import type { Round } from './report.ts';
import { compareCounts, type GatewayCounts, sumSamples } from './request-counts.ts';
import { startWorker } from './worker-process.ts';

export interface RoundPlan {
  readonly proxy: RunningProxy;
  readonly body: Body;
  /** Round number, as in `Round`. */
  readonly round: number;
  /** Milliseconds during which new requests are sent. */
  readonly milliseconds: number;
  /** Additional request headers. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Environment of a run: a load generator and an upstream, each in its own process, and a temporary folder. */
export interface Harness {
  readonly proxyOptions: ProxyOptions;
  /** Loads one proxy and resolves when every request has got a response or failed. */
  run(plan: RoundPlan): Promise<Round>;
  /** Stops the processes and removes the folder. */
  close(): Promise<void>;
}

export async function startHarness(): Promise<Harness> {
  const load = startWorker<LoadPlan, LoadResult>(new URL('load-process.ts', import.meta.url));
  const upstream = startWorker<object, { port: number; received: number }>(
    new URL('upstream-process.ts', import.meta.url),
  );
  // Stopping the load fails the current round, and the finally blocks close everything.
  onStopSignal(() => void load.stop());
  const { port } = await upstream.call({});
  const folder = await mkdtemp(join(tmpdir(), 'zerda-bench-'));

  return {
    proxyOptions: { upstreamPort: port, folder },
    async run({ proxy, body, round, milliseconds, headers }) {
      const { path, bytes, connections } = body;
      const [{ received }, usage] = await Promise.all([upstream.call({}), readUsage(proxy.pid)]);
      const result = await load.call({ port: proxy.port, path, bytes, connections, milliseconds, headers });
      const [later, usageLater] = await Promise.all([upstream.call({}), readUsage(proxy.pid)]);
      return {
        proxy: proxy.name,
        body: body.title,
        round,
        ...result,
        received: later.received - received,
        cpuMicroseconds:
          usage && usageLater && result.responded > 0
            ? (usageLater.cpuMicroseconds - usage.cpuMicroseconds) / result.responded
            : undefined,
        residentBytes: usageLater?.residentBytes,
      };
    },
    async close() {
      await Promise.all([load.stop(), upstream.stop()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Milliseconds after the last response within which log lines and metrics must be complete. */
const settleTimeoutMs = 5000;

/** Returns the request counts of the gateway's rounds, after all counts are equal or 5 s have passed. */
export async function countRequests(
  gateway: RunningGateway,
  rounds: readonly Round[],
): Promise<GatewayCounts> {
  const gatewayRounds = rounds.filter(({ proxy }) => proxy === gateway.name);
  const sum = (key: 'sent' | 'responded' | 'received'): number =>
    gatewayRounds.reduce((total, round) => total + round[key], 0);
  const deadline = performance.now() + settleTimeoutMs;
  while (true) {
    const metrics = await gateway.scrape();
    const circuitEvents = (event: string): number =>
      sumSamples(metrics, 'circuit_breaker_events_total', { circuit: 'user-service', event });
    const counts = {
      sent: sum('sent'),
      responded: sum('responded'),
      received: sum('received'),
      logLines: gateway.logLines(),
      measured: sumSamples(metrics, 'http_server_request_duration_seconds_count', {
        http_route: bodyRoute,
        http_response_status_code: '200',
      }),
      circuitCalls: circuitEvents('success') + circuitEvents('failure'),
    };
    if (compareCounts(counts).length === 0 || performance.now() > deadline) return counts;
    await wait(50);
  }
}
