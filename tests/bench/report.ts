import type { Body } from './bodies.ts';
import type { LoadResult } from './load.ts';
import { type Spread, spread } from './statistics.ts';

/** Result of loading one proxy with one body once. */
export interface Round extends LoadResult {
  readonly proxy: string;
  /** Title of the body. */
  readonly body: string;
  /** Round number, starting at 1; 0 is the warm-up. */
  readonly round: number;
  /** Requests that the upstream received during the round. */
  readonly received: number;
  /** CPU time of the proxy's processes per response, in microseconds; undefined on systems without /proc. */
  readonly cpuMicroseconds: number | undefined;
  /** Resident memory of the proxy's processes at the end, in bytes; undefined on systems without /proc. */
  readonly residentBytes: number | undefined;
}

/** Statistics of the rounds of one proxy with one body. */
export interface Row {
  readonly proxy: string;
  readonly body: string;
  readonly requestsPerSecond: Spread | undefined;
  readonly p50Ms: Spread | undefined;
  readonly p99Ms: Spread | undefined;
  readonly cpuMicroseconds: Spread | undefined;
  /** CPU of the gateway divided by the CPU of this proxy in the same round. */
  readonly gatewayRatio: Spread | undefined;
  readonly residentBytes: Spread | undefined;
}

/** A proxy that could not be measured. */
export interface SkippedProxy {
  readonly name: string;
  readonly reason: string;
}

/** Returns one row per body and proxy, in the order of the warm-ups. Warm-ups are not part of the statistics. */
export function summarizeRounds(rounds: readonly Round[], gateway: string): Row[] {
  const measured = rounds.filter(({ round }) => round > 0);
  const proxies = new Set(rounds.map(({ proxy }) => proxy));
  const titles = new Set(measured.map(({ body }) => body));
  return [...titles].flatMap((body) => {
    const bodyRounds = measured.filter((round) => round.body === body);
    const gatewayCpu = new Map(
      bodyRounds
        .filter(({ proxy }) => proxy === gateway)
        .map(({ round, cpuMicroseconds }) => [round, cpuMicroseconds]),
    );
    return [...proxies].map((proxy) => {
      const group = bodyRounds.filter((round) => round.proxy === proxy);
      return {
        proxy,
        body,
        requestsPerSecond: spread(group.map(requestsPerSecond)),
        p50Ms: spread(group.map(({ p50Ms }) => p50Ms)),
        p99Ms: spread(group.map(({ p99Ms }) => p99Ms)),
        cpuMicroseconds: spread(group.map(({ cpuMicroseconds }) => cpuMicroseconds)),
        gatewayRatio: spread(
          group.map(({ round, cpuMicroseconds }) => ratio(gatewayCpu.get(round), cpuMicroseconds)),
        ),
        residentBytes: spread(group.map(({ residentBytes }) => residentBytes)),
      };
    });
  });
}

function requestsPerSecond({ responded, milliseconds }: Round): number | undefined {
  return milliseconds > 0 ? (responded * 1000) / milliseconds : undefined;
}

function ratio(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined || b === 0 ? undefined : a / b;
}

/** Returns what makes a round invalid, one line each: errors, and requests that were lost or duplicated. */
export function findFaults(rounds: readonly Round[]): string[] {
  return rounds.flatMap(({ proxy, body, round, sent, responded, received, errors }) => {
    const where = `${proxy}, ${body}, round ${round}`;
    return [
      ...Object.entries(errors).map(([error, count]) => `${where}: ${count} x ${error}`),
      ...(sent === 0 ? [`${where}: no request was sent`] : []),
      ...(responded !== sent ? [`${where}: ${sent} requests sent, ${responded} correct responses`] : []),
      ...(received !== sent ? [`${where}: ${sent} requests sent, ${received} received by the upstream`] : []),
    ];
  });
}

/** Maximum CPU of the gateway as a multiple of another proxy's CPU. */
export interface Goal {
  readonly proxy: string;
  readonly limit: number;
  /** True for a stretch goal. */
  readonly moonshot?: boolean;
}

const goals: readonly Goal[] = [
  { proxy: '@fastify/http-proxy', limit: 1 },
  { proxy: 'nginx', limit: 4 },
  { proxy: 'nginx', limit: 3, moonshot: true },
  { proxy: 'Traefik', limit: 0.4 },
];

/** Result of a goal with one body. */
export interface GoalResult extends Goal {
  readonly body: string;
  /** Median CPU ratio; undefined if the proxy was not measured. */
  readonly ratio: number | undefined;
  readonly met: boolean | undefined;
}

export function evaluateGoals(rows: readonly Row[], titles: readonly string[]): GoalResult[] {
  return goals.flatMap((goal) =>
    titles.map((body) => {
      const row = rows.find((candidate) => candidate.proxy === goal.proxy && candidate.body === body);
      const median = row?.gatewayRatio?.median;
      return { ...goal, body, ratio: median, met: median === undefined ? undefined : median <= goal.limit };
    }),
  );
}

/** Formats the table of one body: a row per proxy, medians with minimum and maximum in parentheses. */
export function formatBody(
  { title, connections }: Body,
  rows: readonly Row[],
  skipped: readonly SkippedProxy[],
): string {
  const lines = rows
    .filter(({ body }) => body === title)
    .map((row) => [
      row.proxy,
      formatSpread(row.requestsPerSecond, 0),
      formatSpread(row.p50Ms, 2),
      formatSpread(row.p99Ms, 2),
      formatSpread(row.cpuMicroseconds, 1),
      formatSpread(row.gatewayRatio, 2),
      formatSpread(row.residentBytes, 0, 1024 * 1024),
    ]);
  return [
    `GET ${title} over ${connections} connections`,
    formatTable([header, ...lines]),
    ...skipped.map(({ name, reason }) => `${name}: skipped, ${reason}`),
  ].join('\n');
}

const header = ['proxy', 'req/s', 'p50 ms', 'p99 ms', 'CPU µs/req', 'gateway/proxy', 'RSS MiB'];

/** Formats the goals, a row per goal, with ratio and result for each body. */
export function formatGoals(goalResults: readonly GoalResult[], titles: readonly string[]): string {
  return formatTable([
    ['CPU of the gateway', ...titles],
    ...goals.map(({ proxy, limit, moonshot }) => [
      `<= ${limit} x ${proxy}${moonshot ? ' (moonshot)' : ''}`,
      ...goalResults
        .filter((goalResult) => goalResult.proxy === proxy && goalResult.limit === limit)
        .map(({ ratio: median, met }) =>
          median === undefined ? '-' : `${median.toFixed(2)} ${met ? 'met' : 'missed'}`,
        ),
    ]),
  ]);
}

function formatSpread(values: Spread | undefined, digits: number, unit = 1): string {
  if (values === undefined) return '-';
  const text = (value: number): string => (value / unit).toFixed(digits);
  return `${text(values.median)} (${text(values.lowest)}-${text(values.highest)})`;
}

/** Pads columns to their longest cell; the first column is left-aligned, the others are right-aligned. */
function formatTable(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  );
  return lines
    .map((line) =>
      line
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
