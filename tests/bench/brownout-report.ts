import type { CircuitState } from '../../packages/chassis/src/http-client/circuit-breaker.ts';
import type { Trouble } from './faulty-upstream.ts';
import { percentile } from './statistics.ts';
import type { SteadyLoadResult } from './steady-load.ts';

/** A circuit's taking a state, as the gateway's log tells it. */
export interface CircuitChange {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly state: CircuitState;
}

/** What a circuit went through in some time. */
export interface CircuitCourse {
  /** State at the end. */
  readonly state: CircuitState;
  /** Share of the time, 0 to 1, in which it was not closed; half-open, it lets nothing but one probe through. */
  readonly openShare: number;
}

const messages: Readonly<Record<string, CircuitState>> = {
  'circuit opened': 'open',
  'circuit half-open': 'half-open',
  'circuit closed': 'closed',
};

/** Undefined for a line of the gateway's log that is about anything else than this circuit's state. */
export function readCircuitChange(line: string, circuit: string): CircuitChange | undefined {
  if (!line.includes(`"circuit":"${circuit}"`)) return undefined;
  const { time, msg } = JSON.parse(line) as { time: string; msg: string };
  const state = messages[msg];
  return state === undefined ? undefined : { at: Date.parse(time), state };
}

/**
 * @param changes all since the gateway began, oldest first
 * @param fromMs milliseconds since 1970
 * @param toMs likewise
 */
export function followCircuit(
  changes: readonly CircuitChange[],
  fromMs: number,
  toMs: number,
): CircuitCourse {
  let state: CircuitState = 'closed';
  let since = fromMs;
  let openMs = 0;
  const pass = (until: number): void => {
    if (state !== 'closed') openMs += until - since;
    since = until;
  };
  for (const change of changes) {
    if (change.at > toMs) break;
    if (change.at > fromMs) pass(change.at);
    state = change.state;
  }
  pass(toMs);
  return { state, openShare: openMs / (toMs - fromMs) };
}

/** The load on the gateway while the upstream was in one kind of trouble, and what came of it. */
export interface Cell extends Trouble, SteadyLoadResult {
  /** Milliseconds in which requests were sent. */
  readonly milliseconds: number;
  /** Requests that reached the upstream. */
  readonly received: number;
  /** Until the last request had been sent. */
  readonly circuit: CircuitCourse;
}

/** One line of the table. */
export interface BrownoutRow extends Trouble, CircuitCourse {
  /** 2xx, a second. */
  readonly answered: number;
  /** Failures of the upstream that were passed on (500), a second. */
  readonly failed: number;
  /** Requests that the open circuit did not let through (503), a second. */
  readonly refused: number;
  /** Requests that ran out of their time (504), a second. */
  readonly timedOut: number;
  /** Milliseconds to the end of an answer of any kind; undefined without any. */
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  /** Milliseconds to the end of a refusal; undefined without any. */
  readonly refusalP99Ms: number | undefined;
  /** Requests a second that reached the upstream. */
  readonly received: number;
}

export function summariseCell(cell: Cell): BrownoutRow {
  const { delayMs, failPercent, milliseconds, received, answers, circuit } = cell;
  const perSecond = (count: number): number => (count * 1000) / milliseconds;
  const ofStatus = (from: number, to = from) =>
    answers.filter(({ status }) => status >= from && status <= to).map(({ ms }) => ms);
  const all = answers.map(({ ms }) => ms).sort((a, b) => a - b);
  const refusals = ofStatus(503).sort((a, b) => a - b);
  return {
    delayMs,
    failPercent,
    answered: perSecond(ofStatus(200, 299).length),
    failed: perSecond(ofStatus(500).length),
    refused: perSecond(refusals.length),
    timedOut: perSecond(ofStatus(504).length),
    p50Ms: percentile(all, 50),
    p99Ms: percentile(all, 99),
    refusalP99Ms: percentile(refusals, 99),
    ...circuit,
    received: perSecond(received),
  };
}

/** What the gateway may answer when an upstream is slow or fails. */
const expectedStatuses = new Set([200, 500, 503, 504]);

/** What makes a cell worthless, one line each: requests without an answer, with another one, or made up. */
export function findCellFaults(cell: Cell): string[] {
  const { delayMs, failPercent, sent, received, answers, errors } = cell;
  const where = `${delayMs} ms, ${failPercent} %`;
  const unexpected = answers.filter(({ status }) => !expectedStatuses.has(status));
  return [
    ...Object.entries(errors).map(([error, count]) => `${where}: ${count} x ${error}`),
    ...[...new Set(unexpected.map(({ status }) => status))].map((status) => `${where}: status ${status}`),
    ...(answers.length === 0 ? [`${where}: no answer at all`] : []),
    ...(received > sent ? [`${where}: ${sent} requests sent, ${received} at the upstream`] : []),
  ];
}

const header = [
  ...['delay ms', 'failing %', 'answered/s', 'failed/s', 'refused/s', 'timed out/s', 'p50 ms', 'p99 ms'],
  ...['p99 of refusals ms', 'circuit at the end', 'not closed, % of time', 'upstream req/s'],
];

/** The rows as a table in Markdown. */
export function formatBrownout(rows: readonly BrownoutRow[]): string {
  const lines = rows.map((row) => [
    ...[row.delayMs, row.failPercent].map(String),
    ...[row.answered, row.failed, row.refused, row.timedOut].map((rate) => rate.toFixed(0)),
    ...[row.p50Ms, row.p99Ms, row.refusalP99Ms].map((ms) => ms?.toFixed(ms < 100 ? 1 : 0) ?? '-'),
    row.state,
    ...[row.openShare * 100, row.received].map((figure) => figure.toFixed(0)),
  ]);
  return [header, header.map(() => '---:'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const end = '<!-- to here -->';

/**
 * Puts a text between the two marks of a page, the first of which names the command that makes it, by default that of this table.
 * @throws Error when the page does not have them
 */
export function replaceMarked(page: string, text: string, command = 'npm run brownout'): string {
  const begin = `<!-- Made by \`${command}\`: from here -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from === -1 || to === -1) throw new Error(`the page lacks ${begin} and ${end}`);
  return `${page.slice(0, from + begin.length)}\n\n${text}\n\n${page.slice(to)}`;
}
