import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { problemCodes, problemTypes } from '@zerda/contracts/problems';
import axios from 'axios';
import { Deadline } from '../deadline.ts';
import { Failure } from '../failure.ts';
import { createLifecycle } from '../lifecycle/lifecycle.ts';
import { createMetrics } from '../metrics/metrics.ts';
import { runInContext } from '../request-context.ts';
import { silentLogger } from '../testing.ts';
import { CallerGoneError, reasonOf, UpstreamTimeoutError } from './call-outcome.ts';
import { CircuitOpenError } from './circuit-breaker.ts';
import { startServers } from './testing-servers.ts';
import { createUpstream, type UpstreamOptions } from './upstream.ts';

async function startStub(context: TestContext, behaviour: RequestListener) {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    behaviour(request, response);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  async function stop(): Promise<void> {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
  context.after(stop);
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, requests, stop, server };
}

function open(context: TestContext, baseUrl: string, timeoutMs = 2000, more: Partial<UpstreamOptions> = {}) {
  const logger = silentLogger();
  const metrics = createMetrics({ service: 'test', version: '0' });
  const lifecycle = createLifecycle({ logger });
  const upstream = createUpstream({
    name: 'user-service',
    baseUrl,
    timeoutMs,
    maxConnections: 4,
    circuit: { errorPercent: 50, volume: 3, windowMs: 10_000, resetMs: 10_000 },
    metrics,
    logger,
    lifecycle,
    ...more,
  });
  context.after(() => lifecycle.shutdown());
  return { upstream, metrics, lifecycle };
}

async function thrownBy(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => assert.fail('the call succeeded'),
    (error: unknown) => error,
  );
}

const within = <T>(ms: number, work: () => Promise<T>) =>
  runInContext({ correlationId: 'abc', deadline: Deadline.after(ms) }, work);

describe('upstream', () => {
  it('reads an answer below the base URL, with the context of the request in hand', async (context) => {
    const stub = await startStub(context, (_request, response) => {
      response.setHeader('content-type', 'application/json').end('{"data":1}');
    });
    const { upstream } = open(context, `${stub.url}/base/`);
    const answer = await within(1000, () =>
      upstream.get<{ data: number }>('/api/users/1', { params: { limit: 2 } }),
    );
    assert.equal(answer.data.data, 1);
    const { url, headers } = stub.requests[0] ?? {};
    assert.equal(url, '/base/api/users/1?limit=2');
    assert.equal(headers?.['x-correlation-id'], 'abc');
    const ms = Number(headers?.['x-request-timeout-ms']);
    assert.ok(ms > 500 && ms <= 1000, String(ms));
  });

  it('carries the trace of the request in hand (W3C Trace Context; W3C Baggage)', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream } = open(context, stub.url);
    const trace = {
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'vendor=1',
      baggage: 'tenant=7',
    };
    await runInContext({ correlationId: 'abc', deadline: Deadline.after(1000), ...trace }, () =>
      upstream.get('/'),
    );
    const { traceparent, tracestate, baggage } = stub.requests[0]?.headers ?? {};
    assert.deepEqual({ traceparent, tracestate, baggage }, trace);
  });

  it('gives a call its own time when the request allows more, or when there is no request', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream } = open(context, stub.url);
    await within(60_000, () => upstream.get('/'));
    await upstream.get('/', { timeoutMs: 300 });
    const [normal, own] = stub.requests.map(({ headers }) => Number(headers['x-request-timeout-ms']));
    assert.ok(normal !== undefined && normal > 1500 && normal < 2000, String(normal));
    assert.ok(own !== undefined && own > 200 && own < 300, String(own));
  });

  it('keeps its connections', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream } = open(context, stub.url);
    let connections = 0;
    stub.server.on('connection', () => {
      connections += 1;
    });
    for (let call = 0; call < 20; call += 1) await upstream.get('/');
    // A connection whose answer has only just ended may not be free for the very next call.
    assert.ok(connections <= 2, `${connections} connections for 20 calls`);
  });

  it('rejects a status outside of 2xx with the answer', async (context) => {
    const stub = await startStub(context, (_request, response) => {
      response
        .writeHead(404, { 'x-problem': 'user-not-found', 'content-type': 'application/json' })
        .end('{"a":1}');
    });
    const { upstream } = open(context, stub.url);
    for (let call = 0; call < 5; call += 1) {
      const error = await thrownBy(upstream.get('/'));
      assert.ok(axios.isAxiosError(error));
      assert.equal(error.response?.status, 404);
      assert.equal(error.code, 'ERR_BAD_REQUEST');
      assert.deepEqual(error.response?.data, { a: 1 });
    }
    assert.equal(upstream.breaker.state, 'closed');
  });

  it('opens its circuit on failures of the service, each told by its reason', async (context) => {
    let behaviour: RequestListener = () => undefined;
    const stub = await startStub(context, (request, response) => behaviour(request, response));
    const { upstream } = open(context, stub.url, 50);
    const silent = await thrownBy(upstream.get('/'));
    assert.ok(silent instanceof UpstreamTimeoutError);
    assert.equal(reasonOf(silent), 'timeout');
    behaviour = (_request, response) => response.writeHead(500).end();
    assert.equal(reasonOf(await thrownBy(upstream.get('/'))), 'error');
    await stub.stop();
    assert.equal(reasonOf(await thrownBy(upstream.get('/'))), 'unreachable');
    assert.equal(upstream.breaker.state, 'open');
    const rejected = await thrownBy(upstream.get('/'));
    assert.ok(rejected instanceof CircuitOpenError);
    assert.equal(reasonOf(rejected), 'circuit_open');
  });

  for (const code of problemCodes.filter((code) => problemTypes[code].status === 503)) {
    const counted = problemTypes[code].serviceFailure !== false;
    it(`${counted ? 'opens' : 'keeps closed'} the circuit${counted ? '' : ', and does not retry,'} after 503 ${code}`, async (context) => {
      const stub = await startStub(context, (_request, response) => {
        response.writeHead(503, { 'x-problem': code }).end();
      });
      const { upstream } = open(context, stub.url);
      for (let call = 0; call < 20 && upstream.breaker.state === 'closed'; call += 1)
        await thrownBy(upstream.get('/'));
      assert.equal(upstream.breaker.state, counted ? 'open' : 'closed');
      if (!counted) assert.equal(stub.requests.length, 20);
    });
  }

  it('does not blame the service for callers who give up quickly, and does for those it kept waiting', async (context) => {
    const stub = await startStub(context, () => undefined);
    const { upstream } = open(context, stub.url, 200);
    for (let call = 0; call < 5; call += 1) {
      const error = await within(20, () => thrownBy(upstream.get('/')));
      assert.ok(error instanceof UpstreamTimeoutError);
    }
    assert.equal(upstream.breaker.state, 'closed');
    await Promise.all([1, 2, 3].map(() => within(150, () => thrownBy(upstream.get('/')))));
    assert.equal(upstream.breaker.state, 'open');
  });

  it('calls nobody when no time is left', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream } = open(context, stub.url);
    const error = await within(0, () => thrownBy(upstream.get('/')));
    assert.ok(error instanceof Failure);
    assert.equal(error.code, 'deadline-exceeded');
    assert.equal(stub.requests.length, 0);
  });

  it('learns nothing from a caller who went away', async (context) => {
    const { upstream } = open(context, 'http://127.0.0.1:9');
    for (let call = 0; call < 5; call += 1) {
      await thrownBy(upstream.call(() => Promise.reject(new CallerGoneError())));
    }
    assert.equal(upstream.breaker.state, 'closed');
  });

  it('counts and measures its calls by outcome', async (context) => {
    const stub = await startStub(context, ({ url }, response) => {
      response.writeHead(url === '/broken' ? 500 : 200).end('{}');
    });
    const { upstream, metrics } = open(context, stub.url);
    await upstream.get('/');
    await thrownBy(upstream.get('/broken'));
    await thrownBy(upstream.call(() => Promise.reject(new CallerGoneError())));
    const { body } = await metrics.render();
    for (const outcome of ['answered', 'error', 'caller_gone']) {
      assert.match(
        body,
        new RegExp(
          `http_client_request_duration_seconds_count\\{upstream="user-service",outcome="${outcome}"\\} 1`,
        ),
      );
    }
    assert.match(body, /circuit_breaker_events_total\{circuit="user-service",event="success"\} 1/);
    assert.match(body, /circuit_breaker_events_total\{circuit="user-service",event="ignored"\} 1/);
    assert.match(body, /circuit_breaker_state\{circuit="user-service"\} 0/);
    // A connection is used again once its answer is behind it by a turn of the event loop.
    assert.match(body, /^pool_connections\{pool="user-service",state="idle"\} [12]$/m);
  });

  it('tries a call again on another address when one is busy or breaks connections', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2, (_request, response) => {
      response.setHeader('content-type', 'application/json').end('{"fine":true}');
    });
    const { upstream } = open(context, `http://users.test:${port}`, 2000, {
      circuit: { errorPercent: 50, volume: 1000, windowMs: 10_000, resetMs: 10_000 },
      balancing: { lookups: { lookup: async () => addresses } },
    });
    for (let call = 0; call < 100; call += 1) await upstream.get('/');
    const [bad, good] = servers;
    assert.ok(bad && good);
    for (const behaviour of [
      ((_request, response) => response.writeHead(503).end()) satisfies RequestListener,
      ((request) => request.socket.destroy()) satisfies RequestListener,
    ]) {
      bad.behaviour = behaviour;
      const before = bad.requests.length;
      for (let call = 0; call < 4; call += 1)
        assert.deepEqual((await upstream.get('/')).data, { fine: true });
      assert.ok(bad.requests.length > before, 'the bad address was asked');
    }
  });

  it('refuses calls above those in flight, and says so without blaming the service', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream, metrics } = open(context, stub.url, 2000, { maxInFlight: 2 });
    const ends: (() => void)[] = [];
    const hold = () =>
      upstream.call(async (attempt) => {
        ends.push(attempt.hold());
        return { status: 200, problem: undefined };
      });
    await hold();
    await hold();
    assert.equal(reasonOf(await thrownBy(upstream.get('/'))), 'overloaded');
    assert.match((await metrics.render()).body, /http_client_active_requests\{upstream="user-service"\} 2/);
    assert.equal(upstream.breaker.history.failures, 0);
    ends[0]?.();
    assert.equal((await upstream.get('/')).status, 200);
    ends[1]?.();
    assert.equal(upstream.inFlight, 0);
  });

  it('closes its connections at shutdown', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream, lifecycle } = open(context, stub.url);
    await upstream.get('/');
    await lifecycle.shutdown();
    const { socket } = stub.requests[0] ?? {};
    if (socket !== undefined && !socket.destroyed)
      await new Promise((closed) => socket.once('close', closed));
    await thrownBy(upstream.get('/'));
    assert.equal(stub.requests.length, 1);
  });
});
