import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { onStopSignal } from '../../scripts/lib/command.ts';
import { root } from '../../scripts/lib/services.ts';
import {
  type Cell,
  type CircuitChange,
  findCellFaults,
  followCircuit,
  formatBrownout,
  readCircuitChange,
  replaceMarked,
  summariseCell,
} from './brownout-report.ts';
import type { Trouble } from './faulty-upstream.ts';
import { type RunningGateway, startGateway } from './gateway.ts';
import { type Helper, startHelper } from './helper.ts';
import { describeMachine, saveResult } from './result-file.ts';
import type { SteadyLoadPlan, SteadyLoadResult } from './steady-load.ts';

/** Which troubles the upstream has: each delay with each share of failures. */
interface Grid {
  readonly delaysMs: readonly number[];
  readonly failPercents: readonly number[];
}

/** `normal` takes about two and a half minutes, `quick` half a minute. */
const grids = {
  normal: { delaysMs: [0, 300, 500, 800, 1100, 5000], failPercents: [0, 10, 50, 100] },
  quick: { delaysMs: [0, 1100], failPercents: [0, 50] },
} as const satisfies Record<string, Grid>;

/** With 800 ms an answer, as many as this keep more connections busy than the gateway has. */
const perSecond = 200;
const cellMs = 4000;
const path = '/api/users/1';
const upstreamName = 'user-service';

/**
 * The times are a fifth of the gateway's defaults, so that seconds show what would take half a minute. The others are its
 * defaults, whatever the environment says.
 */
const gatewaySettings = {
  UPSTREAM_TIMEOUT_MS: '1000',
  CIRCUIT_WINDOW_MS: '1000',
  CIRCUIT_RESET_MS: '1000',
  UPSTREAM_CONNECTIONS: '128',
  CIRCUIT_ERROR_PERCENT: '50',
  CIRCUIT_VOLUME: '10',
} as const;

/** Milliseconds of load on a healthy upstream that must be answered in full before the next cell, above the window. */
const restMs = 1200;
const restStepMs = 400;
const restWithinMs = 10_000;
/** Milliseconds of load before the first cell, in which code is compiled and connections are made. */
const warmUpMs = 6000;
const healthy: Trouble = { delayMs: 0, failPercent: 0 };

interface Scene {
  readonly gateway: RunningGateway;
  /** Grows with the gateway's log. */
  readonly changes: readonly CircuitChange[];
  readonly load: Helper<SteadyLoadPlan, SteadyLoadResult>;
  readonly upstream: Helper<Trouble, { readonly port: number; readonly received: number }>;
}

/** Measures all cells, prints the table and, unless it is a quick run, writes it into docs/brownout.md. */
export async function brownOut(mode: keyof typeof grids): Promise<number> {
  const cells = await measure(grids[mode]);
  const rows = cells.map(summariseCell);
  const faults = cells.flatMap(findCellFaults);
  const table = formatBrownout(rows);
  const settings = Object.entries(gatewaySettings).map(([name, value]) => `\`${name}=${value}\``);
  const { cpu, cores, memoryGiB, system, node, loadBefore } = describeMachine();
  const text = [
    table,
    '',
    `${perSecond} requests a second for ${cellMs / 1000} s in each row. Gateway with ${settings.join(', ')}.`,
    `Machine: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, Node ${node}.`,
    `Load average before the run: ${loadBefore.toFixed(1)}; well above 0, others were at work too, and the longest times are theirs.`,
  ].join('\n');
  const file = await saveResult(`brownout-${mode}`, { gatewaySettings, perSecond, rows, faults });

  console.log(`\n${text}\n`);
  for (const fault of faults) console.log(`FAILED ${fault}`);
  console.log(`written to ${file}`);
  if (faults.length > 0) return 1;
  if (mode === 'normal') {
    const page = join(root, 'docs', 'brownout.md');
    await writeFile(page, replaceMarked(await readFile(page, 'utf8'), text));
    console.log('written to docs/brownout.md');
  }
  return 0;
}

async function measure({ delaysMs, failPercents }: Grid): Promise<Cell[]> {
  const load: Scene['load'] = startHelper(new URL('steady-load-process.ts', import.meta.url));
  const upstream: Scene['upstream'] = startHelper(new URL('faulty-upstream-process.ts', import.meta.url));
  // The cell under way then fails, which leads to everything being closed.
  onStopSignal(() => void load.stop());
  try {
    const { port: upstreamPort } = await upstream.ask(healthy);
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
      const scene = { gateway, changes, load, upstream };
      const cells: Cell[] = [];
      await load.ask({ port: gateway.port, path, perSecond, milliseconds: warmUpMs });
      for (const delayMs of delaysMs) {
        for (const failPercent of failPercents) {
          await rest(scene);
          const cell = await runCell(scene, { delayMs, failPercent });
          const { answered, state } = summariseCell(cell);
          console.log(`${delayMs} ms, ${failPercent} %: ${answered.toFixed(0)} answered/s, ${state}`);
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
 * Load on a healthy upstream, until nothing of the last trouble is left in the circuit: so no cell has an effect on the
 * next one, and each begins as an outage does, among calls that went well.
 * @throws StartupError when the gateway does not recover
 */
async function rest({ gateway, load, upstream }: Scene): Promise<void> {
  await upstream.ask(healthy);
  const giveUpAt = performance.now() + restWithinMs;
  for (let goodMs = 0; goodMs < restMs; ) {
    if (performance.now() > giveUpAt)
      throw new StartupError(`The gateway has not recovered within ${restWithinMs} ms.`);
    const { sent, answers } = await load.ask({
      ...{ port: gateway.port, path, perSecond },
      milliseconds: restStepMs,
    });
    const good = answers.filter(({ status }) => status === 200).length === sent;
    goodMs = good ? goodMs + restStepMs : 0;
  }
}

async function runCell({ gateway, changes, load, upstream }: Scene, trouble: Trouble): Promise<Cell> {
  const { received } = await upstream.ask(trouble);
  const startedAt = Date.now();
  const result = await load.ask({ port: gateway.port, path, perSecond, milliseconds: cellMs });
  const later = await upstream.ask(trouble);
  return {
    ...trouble,
    ...result,
    milliseconds: cellMs,
    received: later.received - received,
    // Not from /metrics, since asking for it often enough would make the answers slower.
    circuit: followCircuit(changes, startedAt, startedAt + cellMs),
  };
}
