import { upstreamVariable } from '../config.ts';
import { describeOwnEndpoints } from '../own-endpoints/own-endpoints.ts';
import { policies as gatewayPolicies } from '../policies/policies.ts';
import { describePolicies, type PolicyList } from '../policies/route-policies.ts';
import { aggregatePolicies, resolveRoutes } from './route.ts';
import type { RouteTable } from './table.ts';

export interface DescribeTableOptions {
  /** URLs of the upstreams by variable name. */
  readonly urls: Readonly<Record<string, string>>;
  /** Upstream timeout in milliseconds for routes without `timeout_ms`. */
  readonly timeoutMs: number;
  /** The policies; those of the gateway by default. */
  readonly policies?: PolicyList;
}

/** Formats the table for `npm run routes`: every route with its effective limits. */
export function describeTable(
  table: RouteTable,
  { urls, timeoutMs, policies = gatewayPolicies }: DescribeTableOptions,
): string {
  const upstreams = Object.entries(table.upstreams).map(([name, { max_in_flight, health, limit }]) => [
    name,
    urls[upstreamVariable(name)] ?? '',
    max_in_flight === undefined ? '' : `max ${max_in_flight} in flight`,
    health === undefined ? '' : `health ${health}`,
    limit === undefined ? '' : `limit ${limit.requests}/${limit.per_seconds} s`,
  ]);
  const routes = resolveRoutes(table, timeoutMs).map((route) => [
    route.methods.filter((method) => method !== 'HEAD').join(' '),
    route.path,
    `-> ${route.upstream}`,
    `${route.timeoutMs} ms (slow ${route.slowMs})`,
    `idle ${route.idleTimeoutMs} ms`,
    route.totalTimeoutMs === undefined ? 'no total limit' : `total ${route.totalTimeoutMs} ms`,
    `body ${route.bodyLimitBytes} B`,
    `${route.retries} retries`,
    [
      ...(route.encodedSlashes ? ['encoded slashes'] : []),
      describePolicies(policies, 'routes', route.policies),
    ]
      .filter((text) => text !== '')
      .join(', '),
  ]);
  const aggregates = table.aggregates.flatMap(({ path, parts, ...aggregateKeys }) =>
    Object.entries(parts).map(([name, part], index) => [
      index === 0 ? 'GET' : '',
      index === 0 ? path : '',
      `${part.required ? 'required' : 'optional'} ${name}`,
      `<- ${part.upstream} ${part.path}`,
      `${part.timeout_ms ?? timeoutMs} ms`,
      [
        ...(index === 0
          ? [describePolicies(policies, 'aggregates', aggregatePolicies(table, aggregateKeys))]
          : []),
        ...(part.cache === undefined || part.cache === 'off' ? [] : [`cache ${part.cache.ttl_ms} ms`]),
      ].join(', '),
    ]),
  );
  return [
    section('Upstreams', upstreams),
    section('Routes', routes),
    ...(aggregates.length > 0 ? [section('Aggregates', aggregates)] : []),
    section('Own endpoints', describeOwnEndpoints(table.own)),
  ].join('\n\n');
}

function section(title: string, rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [title, ...lines.map((line) => `  ${line}`)].join('\n');
}
