import { readFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import type { TestContext } from 'node:test';
import { addressRanges } from '@zerda/chassis/config/values';
import type { TrustedProxies } from '@zerda/chassis/http/client-address';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { startHttpServer, type TestServer } from '@zerda/chassis/testing/http-server';
import { silentLogger, testAudit, testMetrics } from '@zerda/chassis/testing/observed';
import { createUpstream, type Upstream, type UpstreamOptions } from '@zerda/upstream/upstream';
import { type AppDependencies, createApp } from '../src/app.ts';
import { defaultRoutesFile } from '../src/config.ts';
import { memoryLimiters } from '../src/limits/memory-limiters.ts';
import { createPolicyMetrics } from '../src/metrics/policy-metrics.ts';
import { createBodyPacer } from '../src/overload/body-pacer.ts';
import type { LoadEntry } from '../src/overload/load-monitor.ts';
import { parseTable } from '../src/routes/read-table.ts';
import type { RouteTable } from '../src/routes/table.ts';
import { type StubService, startStub } from './stub-service.ts';

/** A gateway in front of two stub services. */
export interface TestGateway extends TestServer {
  readonly users: StubService;
  readonly orders: StubService;
  readonly metrics: Metrics;
  readonly upstreams: { readonly users: Upstream; readonly orders: Upstream };
}

/** The route table that ships with the gateway. */
export const defaultTable = parseTable(readFileSync(defaultRoutesFile, 'utf8'), 'routes.yaml');

/** Returns the default table with other limits and policies for every route. */
export function tableWith(defaults: RouteTable['defaults']): RouteTable {
  return { ...defaultTable, defaults };
}

/** An entry of a load monitor that does not count. */
export const idleEntry: LoadEntry = {
  leave: () => undefined,
  pause: () => undefined,
  resume: () => undefined,
};

/** Dependencies without authentication and load shedding; rate limits are counted in memory. */
export const openDoor: Pick<
  AppDependencies,
  | 'trustedProxies'
  | 'clientAddressInLog'
  | 'subjectInLog'
  | 'authentication'
  | 'limiters'
  | 'limitFactor'
  | 'load'
  | 'slowClients'
  | 'bodyPacer'
  | 'cacheBytes'
> = {
  trustedProxies: { hops: 0 },
  clientAddressInLog: 'truncated',
  subjectInLog: true,
  authentication: 'off',
  limiters: memoryLimiters,
  limitFactor: 1,
  load: { reason: () => undefined, enter: () => idleEntry, stop: () => undefined },
  slowClients: { watch: () => () => undefined, countReplaced: () => undefined, stop: () => undefined },
  bodyPacer: createBodyPacer(),
  cacheBytes: 2 ** 24,
};

/** Returns a configuration that trusts these proxies. @param ranges addresses or CIDR ranges, separated by commas */
export function proxiesAt(ranges: string): TrustedProxies {
  return { hops: 0, ranges: addressRanges().parse(ranges) };
}

export interface TestGatewayOptions {
  /** Route table with the upstreams `user-service` and `order-service`; the default table by default. */
  readonly table?: RouteTable;
  /** URLs of further upstreams in the table, by name. */
  readonly others?: Readonly<Record<string, string>>;
  readonly maxInFlight?: number;
  readonly balancing?: UpstreamOptions['balancing'];
  readonly users?: RequestListener;
  readonly orders?: RequestListener;
  readonly upstreamTimeoutMs?: number;
  readonly requestTimeoutMs?: number;
  readonly circuit?: Partial<UpstreamOptions['circuit']>;
  readonly logger?: Logger;
  /** Overrides of `openDoor`, and the policies. */
  readonly door?: Partial<typeof openDoor> & Pick<AppDependencies, 'policies' | 'tracer' | 'trustsTraces'>;
}

export async function startGateway(
  context: TestContext,
  options: TestGatewayOptions = {},
): Promise<TestGateway> {
  const logger = options.logger ?? silentLogger();
  const metrics = testMetrics();
  const closes: (() => Promise<void> | void)[] = [];
  const lifecycle = {
    onShutdown: (_name: string, close: () => Promise<void> | void) => void closes.push(close),
  };
  const users = await startStub(context, options.users);
  const orders = await startStub(context, options.orders);
  const create = (name: string, baseUrl: string) =>
    createUpstream({
      name,
      baseUrl,
      timeoutMs: options.upstreamTimeoutMs ?? 5000,
      maxConnections: 16,
      ...(options.maxInFlight !== undefined && { maxInFlight: options.maxInFlight }),
      ...(options.balancing !== undefined && { balancing: options.balancing }),
      circuit: { errorPercent: 50, volume: 3, windowMs: 10_000, resetMs: 10_000, ...options.circuit },
      metrics,
      logger,
      lifecycle,
    });
  const named = { users: create('user-service', users.url), orders: create('order-service', orders.url) };
  const upstreams = new Map([
    ['user-service', named.users],
    ['order-service', named.orders],
    ...Object.entries(options.others ?? {}).map(([name, url]) => [name, create(name, url)] as const),
  ]);
  const app = createApp({
    table: options.table ?? defaultTable,
    upstreams,
    logger,
    audit: testAudit(logger),
    metrics,
    policyMetrics: createPolicyMetrics(metrics.registry),
    requestTimeoutMs: options.requestTimeoutMs ?? 10_000,
    upstreamTimeoutMs: options.upstreamTimeoutMs ?? 5000,
    ...openDoor,
    ...options.door,
  });
  const server = await startHttpServer(context, app);
  server.server.on('checkContinue', app).on('checkExpectation', app);
  context.after(async () => {
    for (const close of closes) await close();
  });
  return { ...server, users, orders, metrics, upstreams: named };
}
