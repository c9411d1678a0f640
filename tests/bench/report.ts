import type { Body } from './bodies.ts';
import type { LoadResult } from './load.ts';
import { type Spread, spread } from './statistics.ts';

/** One proxy under load for one body, once. */
export interface Round extends LoadResult {
  readonly proxy: string;
  /** Title of the body. */
  readonly body: string;
  /** From 1; 0 is the warm-up. */
  readonly round: number;
  /** Requests that the upstream received meanwhile. */
  readonly received: number;
  /** CPU of the proxy's processes, in microseconds an answer; undefined where the system does not tell. */
  readonly cpuMicroseconds: number | undefined;
  /** Bytes of RAM that the proxy's processes had at the end; undefined where the system does not tell. */
  readonly residentBytes: number | undefined;
}

/** What the rounds of one proxy with one body come to. */
export interface Row {
  readonly proxy: string;
  readonly body: string;
  readonly requestsPerSecond: Spread | undefined;
  readonly p50Ms: Spread | undefined;
  readonly p99Ms: Spread | undefined;
  readonly cpuMicroseconds: Spread | undefined;
  /** CPU of the gateway divided by that of this proxy, round by round. */
  readonly gatewayRatio: Spread | undefined;
  readonly residentBytes: Spread | undefined;
}

/** A proxy that could not be measured. */
export interface LeftOut {
  readonly name: string;
  readonly reason: string;
}

/** One row for each body and proxy, in the order of the warm-ups, which do not count themselves. */
export function summarise(rounds: readonly Round[], gateway: string): Row[] {
  const measured = rounds.filter(({ round }) => round > 0);
  const proxies = new Set(rounds.map(({ proxy }) => proxy));
  const titles = new Set(measured.map(({ body }) => body));
  return [...titles].flatMap((body) => {
    const ofBody = measured.filter((one) => one.body === body);
    const gatewayCpu = new Map(
      ofBody
        .filter(({ proxy }) => proxy === gateway)
        .map(({ round, cpuMicroseconds }) => [round, cpuMicroseconds]),
    );
    return [...proxies].map((proxy) => {
      const group = ofBody.filter((one) => one.proxy === proxy);
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

function requestsPerSecond({ answered, milliseconds }: Round): number | undefined {
  return milliseconds > 0 ? (answered * 1000) / milliseconds : undefined;
}

function ratio(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined || b === 0 ? undefined : a / b;
}

/** What makes the figures of a round worthless, one line each: errors, and requests that were lost or repeated. */
export function findFaults(rounds: readonly Round[]): string[] {
  return rounds.flatMap(({ proxy, body, round, sent, answered, received, errors }) => {
    const where = `${proxy}, ${body}, round ${round}`;
    return [
      ...Object.entries(errors).map(([error, count]) => `${where}: ${count} x ${error}`),
      ...(sent === 0 ? [`${where}: no request was sent`] : []),
      ...(answered !== sent ? [`${where}: ${sent} requests sent, ${answered} answered`] : []),
      ...(received !== sent ? [`${where}: ${sent} requests sent, ${received} at the upstream`] : []),
    ];
  });
}

/** The most CPU that the gateway may take, as a multiple of another proxy's. */
export interface Goal {
  readonly proxy: string;
  readonly limit: number;
  /** More than is aimed at. */
  readonly moonshot?: boolean;
}

const goals: readonly Goal[] = [
  { proxy: '@fastify/http-proxy', limit: 1 },
  { proxy: 'nginx', limit: 4 },
  { proxy: 'nginx', limit: 3, moonshot: true },
  { proxy: 'Traefik', limit: 0.4 },
];

/** Whether a goal is met with one body. */
export interface Verdict extends Goal {
  readonly body: string;
  /** Median of the ratios; undefined when the proxy was not measured. */
  readonly ratio: number | undefined;
  readonly met: boolean | undefined;
}

export function judgeGoals(rows: readonly Row[], titles: readonly string[]): Verdict[] {
  return goals.flatMap((goal) =>
    titles.map((body) => {
      const row = rows.find((one) => one.proxy === goal.proxy && one.body === body);
      const median = row?.gatewayRatio?.median;
      return { ...goal, body, ratio: median, met: median === undefined ? undefined : median <= goal.limit };
    }),
  );
}

/** The table of one body: a row a proxy, medians with the lowest and the highest of the rounds in brackets. */
export function formatBody(
  { title, connections }: Body,
  rows: readonly Row[],
  leftOut: readonly LeftOut[],
): string {
  const lines = rows
    .filter(({ body }) => body === title)
    .map((row) => [
      row.proxy,
      figure(row.requestsPerSecond, 0),
      figure(row.p50Ms, 2),
      figure(row.p99Ms, 2),
      figure(row.cpuMicroseconds, 1),
      figure(row.gatewayRatio, 2),
      figure(row.residentBytes, 0, 1024 * 1024),
    ]);
  return [
    `GET ${title} over ${connections} connections`,
    formatTable([header, ...lines]),
    ...leftOut.map(({ name, reason }) => `${name}: left out, ${reason}`),
  ].join('\n');
}

const header = ['proxy', 'req/s', 'p50 ms', 'p99 ms', 'CPU µs/req', 'gateway/it', 'RSS MiB'];

/** The goals, a row each, with the ratio and the verdict for each body. */
export function formatGoals(verdicts: readonly Verdict[], titles: readonly string[]): string {
  return formatTable([
    ['CPU of the gateway', ...titles],
    ...goals.map(({ proxy, limit, moonshot }) => [
      `<= ${limit} x ${proxy}${moonshot ? ' (moonshot)' : ''}`,
      ...verdicts
        .filter((verdict) => verdict.proxy === proxy && verdict.limit === limit)
        .map(({ ratio: median, met }) =>
          median === undefined ? '-' : `${median.toFixed(2)} ${met ? 'met' : 'missed'}`,
        ),
    ]),
  ]);
}

function figure(figures: Spread | undefined, digits: number, unit = 1): string {
  if (figures === undefined) return '-';
  const text = (value: number): string => (value / unit).toFixed(digits);
  return `${text(figures.median)} (${text(figures.lowest)}-${text(figures.highest)})`;
}

/** Columns as wide as their longest cell: the first one flush left, the others flush right. */
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
