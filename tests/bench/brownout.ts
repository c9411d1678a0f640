import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { onStopSignal } from '../../scripts/lib/command.ts';
import { root } from '../../scripts/lib/services.ts';
import {
  type Cell,
  type CircuitChange,
  findCellFaults,
  formatBrownout,
  readCircuitChange,
  replaceMarked,
  summarizeCell,
  summarizeCircuit,
} from './brownout-report.ts';
import type { UpstreamBehavior } from './faulty-upstream.ts';
import { type RunningGateway, startGateway } from './gateway.ts';
import { describeMachine, saveResult } from './result-file.ts';
import type { SteadyLoadPlan, SteadyLoadResult } from './steady-load.ts';
import { startWorker, type WorkerProcess } from './worker-process.ts';

/** Upstream behaviors to measure: each delay combined with each failure rate. */
interface Grid {
  readonly delaysMs: readonly number[];
  readonly failPercents: readonly number[];
}

/** `normal` takes about two and a half minutes, `quick` about half a minute. */
const grids = {
  normal: { delaysMs: [0, 300, 500, 800, 1100, 5000], failPercents: [0, 10, 50, 100] },
  quick: { delaysMs: [0, 1100], failPercents: [0, 50] },
} as const satisfies Record<string, Grid>;

/** At 800 ms per response, this rate needs more upstream connections than the gateway has. */
const perSecond = 200;
const cellMs = 4000;
const path = '/api/users/1';
const upstreamName = 'user-service';

/** Times are a fifth of the gateway's defaults, which shortens the run. The other values are the defaults and override the environment. */
const gatewaySettings = {
  UPSTREAM_TIMEOUT_MS: '1000',
  CIRCUIT_WINDOW_MS: '1000',
  CIRCUIT_RESET_MS: '1000',
  UPSTREAM_CONNECTIONS: '128',
  CIRCUIT_ERROR_PERCENT: '50',
  CIRCUIT_VOLUME: '10',
} as const;

/** Milliseconds of load that must succeed completely before the next cell; longer than CIRCUIT_WINDOW_MS. */
const recoveryLoadMs = 1200;
const recoveryStepMs = 400;
const recoveryTimeoutMs = 10_000;
/** Milliseconds of load before the first cell, for JIT compilation and connection setup. */
const warmUpMs = 6000;
const healthy: UpstreamBehavior = { delayMs: 0, failPercent: 0 };

interface Setup {
  readonly gateway: RunningGateway;
  /** State changes so far; new ones are appended while the gateway runs. */
  readonly changes: readonly CircuitChange[];
  readonly load: WorkerProcess<SteadyLoadPlan, SteadyLoadResult>;
  readonly upstream: WorkerProcess<UpstreamBehavior, { readonly port: number; readonly received: number }>;
}

/** Measures all cells and prints the table; `normal` also writes it into docs/brownout.md. Resolves with the exit code. */
export async function measureBrownout(mode: keyof typeof grids): Promise<number> {
  const cells = await measure(grids[mode]);
  const rows = cells.map(summarizeCell);
  const faults = cells.flatMap(findCellFaults);
  const table = formatBrownout(rows);
  const settings = Object.entries(gatewaySettings).map(([name, value]) => `\`${name}=${value}\``);
  const { cpu, cores, memoryGiB, system, node, loadBefore } = describeMachine();
  const text = [
    table,
    '',
    `Each row: ${perSecond} requests per second for ${cellMs / 1000} s. Gateway with ${settings.join(', ')}.`,
    `Machine: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, Node ${node}.`,
    `Load average before the run: ${loadBefore.toFixed(1)}. If it is well above 0, other processes have raised the highest latencies.`,
  ].join('\n');
  const file = await saveResult(`brownout-${mode}`, { gatewaySettings, perSecond, rows, faults });

  console.log(`\n${text}\n`);
  for (const fault of faults) console.log(`FAILED ${fault}`);
  console.log(`Results written to ${file}`);
  if (faults.length > 0) return 1;
  if (mode === 'normal') {
    const page = join(root, 'docs', 'brownout.md');
    await writeFile(page, replaceMarked(await readFile(page, 'utf8'), text));
    console.log('Table written to docs/brownout.md');
  }
  return 0;
}

async function measure({ delaysMs, failPercents }: Grid): Promise<Cell[]> {
  const load: Setup['load'] = startWorker(new URL('steady-load-process.ts', import.meta.url));
  const upstream: Setup['upstream'] = startWorker(new URL('faulty-upstream-process.ts', import.meta.url));
  // Stopping the load fails the current cell, and the finally blocks close everything.
  onStopSignal(() => void load.stop());
  try {
    const { port: upstreamPort } = await upstream.call(healthy);
    const changes: CircuitChange[] = [];
    const gateway = await startGateway(
      { upstreamPort },
      {
        env: { ...process.env, ...gatewaySettings },
        onLine(line) {
          const change = readCircuitChange(line, upstreamName);
          if (change !== undefined) changes.push(change);
        },
      },
    );
    try {
      const setup = { gateway, changes, load, upstream };
      const cells: Cell[] = [];
      await load.call({ port: gateway.port, path, perSecond, milliseconds: warmUpMs });
      for (const delayMs of delaysMs) {
        for (const failPercent of failPercents) {
          await waitForRecovery(setup);
          const cell = await runCell(setup, { delayMs, failPercent });
          const { responded, state } = summarizeCell(cell);
          console.log(
            `${delayMs} ms, ${failPercent} %: ${responded.toFixed(0)} succeeded/s, circuit ${state}`,
          );
          cells.push(cell);
        }
      }
      return cells;
    } finally {
      await gateway.stop();
    }
  } finally {
    await Promise.all([load.stop(), upstream.stop()]);
  }
}

/**
 * Sends load with a healthy upstream until the circuit has no failure in its window, so that cells do not affect each other.
 * @throws StartupError if the gateway does not recover within 10 s
 */
async function waitForRecovery({ gateway, load, upstream }: Setup): Promise<void> {
  await upstream.call(healthy);
  const deadline = performance.now() + recoveryTimeoutMs;
  for (let goodMs = 0; goodMs < recoveryLoadMs; ) {
    if (performance.now() > deadline)
      throw new StartupError(
        `The gateway did not recover within ${recoveryTimeoutMs} ms after a row of the table.`,
      );
    const { sent, responses } = await load.call({
      port: gateway.port,
      path,
      perSecond,
      milliseconds: recoveryStepMs,
    });
    const good = responses.filter(({ status }) => status === 200).length === sent;
    goodMs = good ? goodMs + recoveryStepMs : 0;
  }
}

async function runCell(
  { gateway, changes, load, upstream }: Setup,
  behavior: UpstreamBehavior,
): Promise<Cell> {
  const { received } = await upstream.call(behavior);
  const startedAt = Date.now();
  const result = await load.call({ port: gateway.port, path, perSecond, milliseconds: cellMs });
  const later = await upstream.call(behavior);
  return {
    ...behavior,
    ...result,
    milliseconds: cellMs,
    received: later.received - received,
    // Read from the log: scraping /metrics often enough would slow down the gateway.
    circuit: summarizeCircuit(changes, startedAt, startedAt + cellMs),
  };
}
