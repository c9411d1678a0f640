import type { CircuitState } from '../../packages/upstream/src/circuit-breaker.ts';
import type { UpstreamBehavior } from './faulty-upstream.ts';
import { percentile } from './statistics.ts';
import type { SteadyLoadResult } from './steady-load.ts';

/** A state change of a circuit, read from the gateway's log. */
export interface CircuitChange {
  /** Unix time in milliseconds. */
  readonly at: number;
  readonly state: CircuitState;
}

/** States of a circuit during a time span. */
export interface CircuitSummary {
  /** State at the end of the span. */
  readonly state: CircuitState;
  /** Share of the time, 0 to 1, in which the circuit was open or half-open. */
  readonly openShare: number;
}

const messages: Readonly<Record<string, CircuitState>> = {
  'circuit opened': 'open',
  'circuit half-open': 'half-open',
  'circuit closed': 'closed',
};

/** Returns the state change in a line of the gateway's log, or undefined if the line is not a state change of this circuit. */
export function readCircuitChange(line: string, circuit: string): CircuitChange | undefined {
  if (!line.includes(`"circuit":"${circuit}"`)) return undefined;
  const { time, msg } = JSON.parse(line) as { time: string; msg: string };
  const state = messages[msg];
  return state === undefined ? undefined : { at: Date.parse(time), state };
}

/**
 * Summarizes the states of a circuit between two times.
 * @param changes all changes since the gateway started, oldest first
 * @param fromMs start as Unix time in milliseconds
 * @param toMs end as Unix time in milliseconds
 */
export function summarizeCircuit(
  changes: readonly CircuitChange[],
  fromMs: number,
  toMs: number,
): CircuitSummary {
  let state: CircuitState = 'closed';
  let since = fromMs;
  let openMs = 0;
  const advance = (until: number): void => {
    if (state !== 'closed') openMs += until - since;
    since = until;
  };
  for (const change of changes) {
    if (change.at > toMs) break;
    if (change.at > fromMs) advance(change.at);
    state = change.state;
  }
  advance(toMs);
  return { state, openShare: openMs / (toMs - fromMs) };
}

/** Result of the load on the gateway with one upstream behavior. */
export interface Cell extends UpstreamBehavior, SteadyLoadResult {
  /** Milliseconds during which requests were sent. */
  readonly milliseconds: number;
  /** Requests that reached the upstream. */
  readonly received: number;
  /** States of the circuit while requests were sent. */
  readonly circuit: CircuitSummary;
}

/** One row of the table. */
export interface BrownoutRow extends UpstreamBehavior, CircuitSummary {
  /** 2xx responses per second. */
  readonly responded: number;
  /** Upstream failures forwarded to the client (500), per second. */
  readonly failed: number;
  /** Requests rejected by the gateway (503), per second. */
  readonly rejected: number;
  /** Requests that timed out (504), per second. */
  readonly timedOut: number;
  /** Milliseconds to the end of a response of any status; undefined without responses. */
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  /** Milliseconds to the end of a 503 response; undefined without 503 responses. */
  readonly rejectedP99Ms: number | undefined;
  /** Requests per second that reached the upstream. */
  readonly received: number;
}

export function summarizeCell(cell: Cell): BrownoutRow {
  const { delayMs, failPercent, milliseconds, received, responses, circuit } = cell;
  const perSecond = (count: number): number => (count * 1000) / milliseconds;
  const ofStatus = (from: number, to = from) =>
    responses.filter(({ status }) => status >= from && status <= to).map(({ ms }) => ms);
  const all = responses.map(({ ms }) => ms).sort((a, b) => a - b);
  const rejections = ofStatus(503).sort((a, b) => a - b);
  return {
    delayMs,
    failPercent,
    responded: perSecond(ofStatus(200, 299).length),
    failed: perSecond(ofStatus(500).length),
    rejected: perSecond(rejections.length),
    timedOut: perSecond(ofStatus(504).length),
    p50Ms: percentile(all, 50),
    p99Ms: percentile(all, 99),
    rejectedP99Ms: percentile(rejections, 99),
    ...circuit,
    received: perSecond(received),
  };
}

/** Statuses that the gateway may return when an upstream is slow or fails. */
const expectedStatuses = new Set([200, 500, 503, 504]);

/** Returns what makes a cell invalid, one line each: failed requests, unexpected statuses, and requests that no client sent. */
export function findCellFaults(cell: Cell): string[] {
  const { delayMs, failPercent, sent, received, responses, errors } = cell;
  const where = `${delayMs} ms, ${failPercent} %`;
  const unexpected = responses.filter(({ status }) => !expectedStatuses.has(status));
  return [
    ...Object.entries(errors).map(([error, count]) => `${where}: ${count} x ${error}`),
    ...[...new Set(unexpected.map(({ status }) => status))].map((status) => `${where}: status ${status}`),
    ...(responses.length === 0 ? [`${where}: no response`] : []),
    ...(received > sent ? [`${where}: ${sent} requests sent, ${received} received by the upstream`] : []),
  ];
}

const header = [
  'delay ms',
  'failing %',
  'succeeded/s',
  'failed/s',
  'rejected/s',
  'timed out/s',
  'p50 ms',
  'p99 ms',
  'p99 ms rejected',
  'circuit at end',
  'circuit not closed %',
  'upstream req/s',
];

/** Formats the rows as a Markdown table. */
export function formatBrownout(rows: readonly BrownoutRow[]): string {
  const lines = rows.map((row) => [
    ...[row.delayMs, row.failPercent].map(String),
    ...[row.responded, row.failed, row.rejected, row.timedOut].map((rate) => rate.toFixed(0)),
    ...[row.p50Ms, row.p99Ms, row.rejectedP99Ms].map((ms) => ms?.toFixed(ms < 100 ? 1 : 0) ?? '-'),
    row.state,
    ...[row.openShare * 100, row.received].map((value) => value.toFixed(0)),
  ]);
  return [header, header.map(() => '---:'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const end = '<!-- to here -->';

/**
 * Replaces the text between the two marker comments of a page and returns the new page.
 * @param command command that generates the text, as the first marker names it
 * @throws Error if the page lacks a marker
 */
export function replaceMarked(page: string, text: string, command = 'npm run brownout'): string {
  const begin = `<!-- Made by \`${command}\`: from here -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from === -1 || to === -1) throw new Error(`The page lacks the markers ${begin} and ${end}`);
  return `${page.slice(0, from + begin.length)}\n\n${text}\n\n${page.slice(to)}`;
}
