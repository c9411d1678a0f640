import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { onStopSignal } from '../../scripts/lib/command.ts';
import { type Body, routeOfBodies } from './bodies.ts';
import type { RunningGateway } from './gateway.ts';
import { startHelper } from './helper.ts';
import { compareCounts, type GatewayCounts, sumSamples } from './honesty.ts';
import type { LoadPlan, LoadResult } from './load.ts';
import { readUsage } from './process-usage.ts';
import type { RunningProxy, Surroundings } from './proxies.ts';
import type { Round } from './report.ts';

export interface RoundPlan {
  readonly proxy: RunningProxy;
  readonly body: Body;
  /** As in `Round`. */
  readonly round: number;
  /** Milliseconds in which new requests are sent. */
  readonly milliseconds: number;
  /** Headers of the requests beside the usual ones; none by default. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What every run needs: a load generator and an upstream, in processes of their own, and a folder for files. */
export interface Stage {
  readonly surroundings: Surroundings;
  /** Puts one proxy under load, until every request is answered. */
  run(plan: RoundPlan): Promise<Round>;
  /** Ends the processes and removes the folder. */
  close(): Promise<void>;
}

export async function openStage(): Promise<Stage> {
  const load = startHelper<LoadPlan, LoadResult>(new URL('load-process.ts', import.meta.url));
  const upstream = startHelper<object, { port: number; received: number }>(
    new URL('upstream-process.ts', import.meta.url),
  );
  // The round under way then fails, which leads to everything being closed.
  onStopSignal(() => void load.stop());
  const { port } = await upstream.ask({});
  const folder = await mkdtemp(join(tmpdir(), 'zerda-bench-'));

  return {
    surroundings: { upstreamPort: port, folder },
    async run({ proxy, body, round, milliseconds, headers }) {
      const { path, bytes, connections } = body;
      const [{ received }, usage] = await Promise.all([upstream.ask({}), readUsage(proxy.pid)]);
      const result = await load.ask({ port: proxy.port, path, bytes, connections, milliseconds, headers });
      const [later, usageLater] = await Promise.all([upstream.ask({}), readUsage(proxy.pid)]);
      return {
        proxy: proxy.name,
        body: body.title,
        round,
        ...result,
        received: later.received - received,
        cpuMicroseconds:
          usage && usageLater && result.answered > 0
            ? (usageLater.cpuMicroseconds - usage.cpuMicroseconds) / result.answered
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

/** Milliseconds that lines of the log and metrics may come after the last answer. */
const settleWithinMs = 5000;

/** What everybody has counted of the gateway's requests, once they agree or have had the time to. */
export async function countRequests(
  gateway: RunningGateway,
  rounds: readonly Round[],
): Promise<GatewayCounts> {
  const ofGateway = rounds.filter(({ proxy }) => proxy === gateway.name);
  const sum = (key: 'sent' | 'answered' | 'received'): number =>
    ofGateway.reduce((total, round) => total + round[key], 0);
  const giveUpAt = performance.now() + settleWithinMs;
  while (true) {
    const metrics = await gateway.scrape();
    const judged = (event: string): number =>
      sumSamples(metrics, 'circuit_breaker_events_total', { circuit: 'user-service', event });
    const counts = {
      sent: sum('sent'),
      answered: sum('answered'),
      received: sum('received'),
      logLines: gateway.logLines(),
      measured: sumSamples(metrics, 'http_server_request_duration_seconds_count', {
        http_route: routeOfBodies,
        http_response_status_code: '200',
      }),
      judged: judged('success') + judged('failure'),
    };
    if (compareCounts(counts).length === 0 || performance.now() > giveUpAt) return counts;
    await wait(50);
  }
}
