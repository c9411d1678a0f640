import assert from 'node:assert/strict';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import { Failure } from '@zerda/chassis/failure';
import { createLifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import { createMetrics } from '@zerda/chassis/metrics/metrics';
import { runInContext } from '@zerda/chassis/request-context';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { silentLogger } from '@zerda/chassis/testing/observed';
import { freePort } from '@zerda/chassis/testing/port';
import { eventually } from '@zerda/chassis/testing/wait';
import { problemCodes, problemTypes } from '@zerda/contracts/problems';
import axios from 'axios';
import { startServers } from '../testing/servers.ts';
import { CallerDisconnectedError, reasonOf, UpstreamTimeoutError } from './call-outcome.ts';
import { CircuitOpenError } from './circuit-breaker.ts';
import { createUpstream, type UpstreamOptions } from './upstream.ts';

async function startStub(context: TestContext, behavior: RequestListener) {
  const requests: IncomingMessage[] = [];
  const server = await startHttpServer(context, (request, response) => {
    requests.push(request);
    behavior(request, response);
  });
  return { ...server, requests };
}

function createTestUpstream(
  context: TestContext,
  baseUrl: string,
  timeoutMs = 2000,
  more: Partial<UpstreamOptions> = {},
) {
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

async function rejectionOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => assert.fail('the call succeeded'),
    (error: unknown) => error,
  );
}

const withDeadline = <T>(ms: number, work: () => Promise<T>) =>
  runInContext({ correlationId: 'abc', deadline: Deadline.after(ms) }, work);

describe('upstream', () => {
  it('calls a path below the base URL with the context of the current request', async (context) => {
    const stub = await startStub(context, (_request, response) => {
      response.setHeader('content-type', 'application/json').end('{"data":1}');
    });
    const { upstream } = createTestUpstream(context, `${stub.url}/base/`);
    const response = await withDeadline(1000, () =>
      upstream.get<{ data: number }>('/api/users/1', { params: { limit: 2 } }),
    );
    assert.equal(response.data.data, 1);
    const { url, headers } = stub.requests[0] ?? {};
    assert.equal(url, '/base/api/users/1?limit=2');
    assert.equal(headers?.['x-correlation-id'], 'abc');
    const ms = Number(headers?.['x-request-timeout-ms']);
    assert.ok(ms > 500 && ms <= 1000, String(ms));
  });

  it('forwards the trace of the current request (W3C Trace Context; W3C Baggage)', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream } = createTestUpstream(context, stub.url);
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

  it('uses the timeout of the call if the request allows more, or without a request', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream } = createTestUpstream(context, stub.url);
    await withDeadline(60_000, () => upstream.get('/'));
    await upstream.get('/', { timeoutMs: 300 });
    const [normal, custom] = stub.requests.map(({ headers }) => Number(headers['x-request-timeout-ms']));
    assert.ok(normal !== undefined && normal > 1500 && normal < 2000, String(normal));
    assert.ok(custom !== undefined && custom > 200 && custom < 300, String(custom));
  });

  it('reuses connections', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream } = createTestUpstream(context, stub.url);
    let connections = 0;
    stub.server.on('connection', () => {
      connections += 1;
    });
    for (let call = 0; call < 20; call += 1) await upstream.get('/');
    // A connection whose response has just ended may not be free for the next call yet.
    assert.ok(connections <= 2, `${connections} connections for 20 calls`);
  });

  it('rejects statuses other than 2xx with the response', async (context) => {
    const stub = await startStub(context, (_request, response) => {
      response
        .writeHead(404, { 'x-problem': 'user-not-found', 'content-type': 'application/json' })
        .end('{"a":1}');
    });
    const { upstream } = createTestUpstream(context, stub.url);
    for (let call = 0; call < 5; call += 1) {
      const error = await rejectionOf(upstream.get('/'));
      assert.ok(axios.isAxiosError(error));
      assert.equal(error.response?.status, 404);
      assert.equal(error.code, 'ERR_BAD_REQUEST');
      assert.deepEqual(error.response?.data, { a: 1 });
    }
    assert.equal(upstream.breaker.state, 'closed');
  });

  it('opens the circuit after failures of the service, each with its reason', async (context) => {
    let behavior: RequestListener = () => undefined;
    const stub = await startStub(context, (request, response) => behavior(request, response));
    const { upstream } = createTestUpstream(context, stub.url, 50);
    const silent = await rejectionOf(upstream.get('/'));
    assert.ok(silent instanceof UpstreamTimeoutError);
    assert.equal(reasonOf(silent), 'timeout');
    behavior = (_request, response) => response.writeHead(500).end();
    assert.equal(reasonOf(await rejectionOf(upstream.get('/'))), 'error');
    await stub.stop();
    assert.equal(reasonOf(await rejectionOf(upstream.get('/'))), 'unreachable');
    assert.equal(upstream.breaker.state, 'open');
    const rejected = await rejectionOf(upstream.get('/'));
    assert.ok(rejected instanceof CircuitOpenError);
    assert.equal(reasonOf(rejected), 'circuit_open');
  });

  for (const code of problemCodes.filter((code) => problemTypes[code].status === 503)) {
    const opensCircuit = problemTypes[code].serviceFailure !== false;
    it(`${opensCircuit ? 'opens' : 'keeps closed'} the circuit${opensCircuit ? '' : ', and does not retry,'} after 503 ${code}`, async (context) => {
      const stub = await startStub(context, (_request, response) => {
        response.writeHead(503, { 'x-problem': code }).end();
      });
      const { upstream } = createTestUpstream(context, stub.url);
      for (let call = 0; call < 20 && upstream.breaker.state === 'closed'; call += 1)
        await rejectionOf(upstream.get('/'));
      assert.equal(upstream.breaker.state, opensCircuit ? 'open' : 'closed');
      if (!opensCircuit) assert.equal(stub.requests.length, 20);
    });
  }

  it('makes calls again as soon as the service accepts connections, before its first response', async (context) => {
    const port = await freePort();
    const { upstream } = createTestUpstream(context, `http://127.0.0.1:${port}`, 2000, {
      circuit: { errorPercent: 50, volume: 1, windowMs: 10_000, resetMs: 500 },
    });
    await rejectionOf(upstream.get('/'));
    assert.equal(upstream.breaker.state, 'open');
    const held: ServerResponse[] = [];
    await startHttpServer(context, (_request, response) => void held.push(response), port);
    await eventually(() => upstream.breaker.state === 'half-open');
    const first = upstream.get('/');
    await eventually(() => held.length === 1);
    const second = upstream.get('/');
    await eventually(() => held.length === 2);
    for (const response of held) response.end('{}');
    await Promise.all([first, second]);
  });

  it('makes calls again as soon as a new address is in DNS if the earlier ones accepted no connection', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    // Nothing listens on this port of the second loopback address.
    let addresses = ['127.0.0.2'];
    const { upstream } = createTestUpstream(context, `http://orders.test:${new URL(stub.url).port}`, 2000, {
      circuit: { errorPercent: 50, volume: 1, windowMs: 60_000, resetMs: 600_000 },
      balancing: { lookups: { lookup: async () => addresses, intervalMs: 10 } },
    });
    await rejectionOf(upstream.get('/'));
    assert.ok((await rejectionOf(upstream.get('/'))) instanceof CircuitOpenError);
    addresses = ['127.0.0.1'];
    await eventually(() => upstream.breaker.state === 'closed');
    await upstream.get('/');
  });

  it('does not count short timeouts of callers as failures, and counts long ones', async (context) => {
    const stub = await startStub(context, () => undefined);
    const { upstream } = createTestUpstream(context, stub.url, 200);
    for (let call = 0; call < 5; call += 1) {
      const error = await withDeadline(20, () => rejectionOf(upstream.get('/')));
      assert.ok(error instanceof UpstreamTimeoutError);
    }
    assert.equal(upstream.breaker.state, 'closed');
    await Promise.all([1, 2, 3].map(() => withDeadline(150, () => rejectionOf(upstream.get('/')))));
    assert.equal(upstream.breaker.state, 'open');
  });

  it('opens the circuit if calls that start together time out after as long as the window', async (context) => {
    const stub = await startStub(context, () => undefined);
    const { upstream } = createTestUpstream(context, stub.url, 200, {
      circuit: { errorPercent: 50, volume: 3, windowMs: 200, resetMs: 10_000 },
    });
    await Promise.all([1, 2, 3, 4].map(() => rejectionOf(upstream.get('/'))));
    assert.equal(upstream.breaker.state, 'open');
  });

  it('makes no call if the deadline has passed', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream } = createTestUpstream(context, stub.url);
    const error = await withDeadline(0, () => rejectionOf(upstream.get('/')));
    assert.ok(error instanceof Failure);
    assert.equal(error.code, 'deadline-exceeded');
    assert.equal(stub.requests.length, 0);
  });

  it('ignores calls whose caller disconnected', async (context) => {
    const { upstream } = createTestUpstream(context, 'http://127.0.0.1:9');
    for (let call = 0; call < 5; call += 1) {
      await rejectionOf(upstream.call(() => Promise.reject(new CallerDisconnectedError())));
    }
    assert.equal(upstream.breaker.state, 'closed');
  });

  it('records calls by outcome', async (context) => {
    const stub = await startStub(context, ({ url }, response) => {
      response.writeHead(url === '/broken' ? 500 : 200).end('{}');
    });
    const { upstream, metrics } = createTestUpstream(context, stub.url);
    await upstream.get('/');
    await rejectionOf(upstream.get('/broken'));
    await rejectionOf(upstream.call(() => Promise.reject(new CallerDisconnectedError())));
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
    // A connection is reused one turn of the event loop after its response.
    assert.match(body, /^pool_connections\{pool="user-service",state="idle"\} [12]$/m);
    assert.match(body, /^pool_max_connections\{pool="user-service"\} 4$/m);
  });

  it('exports which addresses are ejected', async (context) => {
    const stub = await startStub(context, (_request, response) => response.end('{}'));
    const { upstream, metrics } = createTestUpstream(context, stub.url);
    const exported = async (state: string) =>
      new RegExp(`^upstream_addresses\\{upstream="user-service",state="${state}"\\} (.*)$`, 'm').exec(
        (await metrics.render()).body,
      )?.[1];
    await upstream.get('/');
    assert.deepEqual([await exported('available'), await exported('ejected')], ['1', '0']);
    await stub.stop();
    await rejectionOf(upstream.get('/'));
    assert.deepEqual([await exported('available'), await exported('ejected')], ['0', '1']);
  });

  it('retries a call on another address if one is overloaded or breaks connections', async (context) => {
    const { servers, addresses, port } = await startServers(context, 2, (_request, response) => {
      response.setHeader('content-type', 'application/json').end('{"fine":true}');
    });
    const { upstream } = createTestUpstream(context, `http://users.test:${port}`, 2000, {
      circuit: { errorPercent: 50, volume: 1000, windowMs: 10_000, resetMs: 10_000 },
      balancing: { lookups: { lookup: async () => addresses } },
    });
    for (let call = 0; call < 100; call += 1) await upstream.get('/');
    const [bad, good] = servers;
    assert.ok(bad && good);
    for (const behavior of [
      ((_request, response) => response.writeHead(503).end()) satisfies RequestListener,
      ((request) => request.socket.destroy()) satisfies RequestListener,
    ]) {
      bad.behavior = behavior;
      const before = bad.requests.length;
      for (let call = 0; call < 4; call += 1)
        assert.deepEqual((await upstream.get('/')).data, { fine: true });
      assert.ok(bad.requests.length > before, 'the bad address was used');
    }
  });

  it('discards a held response before a retry, passes the last one, and records only that', async (context) => {
    const { upstream } = createTestUpstream(context, 'http://127.0.0.1:9');
    for (const retries of [0, 1, 2]) {
      const decisions: string[] = [];
      const { status } = await upstream.call(
        async ({ last }) => ({
          status: 503,
          problem: undefined,
          held: {
            pass: () => void decisions.push(last ? 'pass last' : 'pass'),
            discard: () => void decisions.push('discard'),
          },
        }),
        { retries },
      );
      assert.equal(status, 503);
      assert.deepEqual(decisions, [...Array(retries).fill('discard'), 'pass last']);
      assert.equal(upstream.breaker.history.failures, retries + 1);
    }
  });

  it('passes a held response if the call cannot be repeated', async (context) => {
    const { upstream } = createTestUpstream(context, 'http://127.0.0.1:9');
    const decisions: string[] = [];
    const held = { pass: () => void decisions.push('pass'), discard: () => void decisions.push('discard') };
    await upstream.call(async () => ({ status: 503, problem: undefined, held }), {
      retries: 1,
      repeatable: () => false,
    });
    assert.deepEqual(decisions, ['pass']);
  });

  it('rejects calls above the limit as overloaded, without a failure of the circuit', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream, metrics } = createTestUpstream(context, stub.url, 2000, { maxInFlight: 2 });
    const ends: (() => void)[] = [];
    const hold = () =>
      upstream.call(async (attempt) => {
        ends.push(attempt.hold());
        return { status: 200, problem: undefined };
      });
    await hold();
    await hold();
    assert.equal(reasonOf(await rejectionOf(upstream.get('/'))), 'overloaded');
    assert.match((await metrics.render()).body, /http_client_active_requests\{upstream="user-service"\} 2/);
    assert.equal(upstream.breaker.history.failures, 0);
    ends[0]?.();
    assert.equal((await upstream.get('/')).status, 200);
    ends[1]?.();
    assert.equal(upstream.inFlight, 0);
  });

  it('closes its connections at shutdown', async (context) => {
    const stub = await startStub(context, (_request, response) => void response.end('{}'));
    const { upstream, lifecycle } = createTestUpstream(context, stub.url);
    await upstream.get('/');
    await lifecycle.shutdown();
    const { socket } = stub.requests[0] ?? {};
    if (socket !== undefined && !socket.destroyed)
      await new Promise((closed) => socket.once('close', closed));
    await rejectionOf(upstream.get('/'));
    assert.equal(stub.requests.length, 1);
  });
});
