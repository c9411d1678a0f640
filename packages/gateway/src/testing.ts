import { readFileSync } from 'node:fs';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type RequestOptions,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { addressRanges } from '@zerda/chassis/config/values';
import type { TrustedProxies } from '@zerda/chassis/http/client-address';
import { createUpstream, type Upstream, type UpstreamOptions } from '@zerda/chassis/http-client/upstream';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { silentLogger, testMetrics } from '@zerda/chassis/testing';
import { type AppDependencies, createApp } from './app.ts';
import { standardRoutesFile } from './config.ts';
import { memoryLimiters } from './limits/memory-limiters.ts';
import type { LoadEntry } from './load-monitor.ts';
import { parseTable } from './routes/read-table.ts';
import type { RouteTable } from './routes/table.ts';

/** A server for one test on a free port of this machine. */
export interface TestServer {
  readonly server: Server;
  readonly port: number;
  readonly url: string;
  /** Drops every connection and stops listening. */
  stop(): Promise<void>;
}

/** Serves until the test ends; `port` 0 takes a free one. */
async function startServer(context: TestContext, listener: RequestListener, port = 0): Promise<TestServer> {
  const server = createServer({ requireHostHeader: false }, listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address() as AddressInfo;
  async function stop(): Promise<void> {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  context.after(stop);
  return { server, port: address.port, url: `http://127.0.0.1:${address.port}`, stop };
}

/** A stub service whose behaviour a test can replace at any time. */
export interface StubService extends TestServer {
  behaviour: RequestListener;
  /** Requests that have come, in order. */
  readonly requests: IncomingMessage[];
}

async function startStub(
  context: TestContext,
  behaviour: RequestListener = answerEmpty,
): Promise<StubService> {
  const requests: IncomingMessage[] = [];
  const server = await startServer(context, (incoming, response) => {
    requests.push(incoming);
    stub.behaviour(incoming, response);
  });
  const stub: StubService = { ...server, behaviour, requests };
  return stub;
}

const answerEmpty: RequestListener = (incoming, response) => {
  incoming.resume();
  sendJson(response, 200, { status: 'success', data: {} });
};

/** Answers with JSON as the services do. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
  response.end(JSON.stringify(body));
}

/** Answers with JSON by path; 404 elsewhere. */
export function jsonByPath(bodies: Readonly<Record<string, unknown>>): RequestListener {
  return (incoming, response) => {
    const body = bodies[incoming.url ?? ''];
    if (body === undefined) sendJson(response, 404, { detail: 'no such path' }, { 'x-problem': 'not-found' });
    else sendJson(response, 200, body);
  };
}

/** A gateway in front of two stub services. */
export interface TestGateway extends TestServer {
  readonly users: StubService;
  readonly orders: StubService;
  readonly metrics: Metrics;
  readonly upstreams: { readonly users: Upstream; readonly orders: Upstream };
}

/** The table that comes with the gateway. */
export const standardTable = parseTable(readFileSync(standardRoutesFile, 'utf8'), 'routes.yaml');

/** The table that comes with the gateway, with other limits for every route. */
export function tableWith(defaults: RouteTable['defaults']): RouteTable {
  return { ...standardTable, defaults };
}

/** An entry of a load monitor that counts nothing. */
export const idleEntry: LoadEntry = {
  leave: () => undefined,
  pause: () => undefined,
  resume: () => undefined,
};

/** A door that asks nobody who they are; it counts in this process, and is never too busy. */
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
  cacheBytes: 2 ** 24,
};

/** Trusts the proxies with these addresses or ranges, joined by commas. */
export function proxiesAt(ranges: string): TrustedProxies {
  return { hops: 0, ranges: addressRanges().parse(ranges) };
}

export interface TestGatewayOptions {
  /** Table of routes to `user-service` and `order-service`; the one that comes with the gateway by default. */
  readonly table?: RouteTable;
  /** Addresses of further upstreams in the table, by their names. */
  readonly others?: Readonly<Record<string, string>>;
  readonly maxInFlight?: number;
  readonly balancing?: UpstreamOptions['balancing'];
  readonly users?: RequestListener;
  readonly orders?: RequestListener;
  readonly upstreamTimeoutMs?: number;
  readonly requestTimeoutMs?: number;
  readonly circuit?: Partial<UpstreamOptions['circuit']>;
  readonly logger?: Logger;
  /** What policies work with, where a test has its own. */
  readonly door?: Partial<typeof openDoor>;
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
    ...{ table: options.table ?? standardTable, upstreams, logger, metrics },
    requestTimeoutMs: options.requestTimeoutMs ?? 10_000,
    upstreamTimeoutMs: options.upstreamTimeoutMs ?? 5000,
    ...openDoor,
    ...options.door,
  });
  const server = await startServer(context, app);
  server.server.on('checkContinue', app).on('checkExpectation', app);
  context.after(async () => {
    for (const close of closes) await close();
  });
  return { ...server, users, orders, metrics, upstreams: named };
}

export interface TestRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string | Buffer;
}

export interface TestAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly text: string;
}

/** Makes one request on a connection of its own and reads the whole answer. */
export function ask(url: string, options: TestRequest = {}): Promise<TestAnswer> {
  const { hostname, port, pathname, search } = new URL(url);
  return send({ host: hostname, port, path: pathname + search }, options);
}

function send(
  target: RequestOptions,
  { method = 'GET', headers = {}, body }: TestRequest,
): Promise<TestAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...target, method, headers, agent: false }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => {
        text += chunk;
      });
      incoming.on('error', reject);
      incoming.on('end', () => {
        const { statusCode = 0, headers: received, rawHeaders } = incoming;
        resolve({ status: statusCode, headers: received, rawHeaders, text });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Requests a path as it is written, which a URL would not hold, from a server on this machine. */
export function askRaw(port: number, path: string, options: TestRequest = {}): Promise<TestAnswer> {
  return send({ host: '127.0.0.1', port, path }, options);
}

/** Waits until something holds; fails after five seconds. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what = 'the condition',
): Promise<void> {
  const giveUpAt = performance.now() + 5000;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`waited in vain for ${what}`);
    await wait(2);
  }
}
