import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { createLifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import { runInContext } from '@zerda/chassis/request-context';
import { silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { recordedRequest } from '@zerda/chassis/testing/tracer';
import { createUpstream, type UpstreamOptions } from './upstream.ts';

async function startUpstream(
  context: TestContext,
  listener: RequestListener,
  options: Partial<UpstreamOptions> = {},
) {
  const traceparents: unknown[] = [];
  const server = createServer((request, response) => {
    traceparents.push(request.headers.traceparent);
    listener(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const logger = silentLogger();
  const lifecycle = createLifecycle({ logger });
  const upstream = createUpstream({
    name: 'user-service',
    baseUrl: `http://127.0.0.1:${port}`,
    timeoutMs: 2000,
    maxConnections: 4,
    circuit: { errorPercent: 50, volume: 1, windowMs: 10_000, resetMs: 10_000 },
    metrics: testMetrics(),
    logger,
    lifecycle,
    ...options,
  });
  context.after(async () => {
    await lifecycle.shutdown();
    server.closeAllConnections();
    server.close();
  });
  return { upstream, port, traceparents };
}

describe('span of a call', () => {
  it('has the method, path pattern, server and selected address, and is the parent of the request', async (context) => {
    const { upstream, port, traceparents } = await startUpstream(context, (_request, response) =>
      response.end('{}'),
    );
    const { context: request, children } = recordedRequest();
    await runInContext(request, () => upstream.get('/api/users/7', { template: '/api/users/{id}' }));
    const [span, ...others] = children();
    assert.deepEqual(others, []);
    assert.deepEqual(span && { ...span, traceparent: undefined }, {
      key: 'attempt',
      name: 'GET /api/users/{id}',
      traceparent: undefined,
      parent: request.traceparent,
      attributes: {
        'http.request.method': 'GET',
        'url.template': '/api/users/{id}',
        'http.response.status_code': 200,
        'server.address': '127.0.0.1',
        'server.port': port,
        'network.peer.address': '127.0.0.1',
        'zerda.upstream': 'user-service',
        'zerda.circuit.state': 'closed',
      },
      events: [],
      links: [],
      failed: false,
      ended: true,
    });
    assert.deepEqual(traceparents, [span?.traceparent]);
  });

  it('exists for each attempt, with the number of the retry', async (context) => {
    let calls = 0;
    const { upstream } = await startUpstream(
      context,
      (_request, response) => {
        calls += 1;
        response.writeHead(calls === 1 ? 503 : 200).end('{}');
      },
      { circuit: { errorPercent: 50, volume: 9, windowMs: 10_000, resetMs: 10_000 } },
    );
    const { context: request, children } = recordedRequest();
    await runInContext(request, () => upstream.get('/'));
    assert.deepEqual(
      children().map(({ failed, attributes }) => [
        failed,
        attributes['error.type'],
        attributes['http.request.resend_count'],
      ]),
      [
        [true, '503', undefined],
        [false, undefined, 1],
      ],
    );
  });

  it('does not exist while the circuit is open, which is an event of the request', async (context) => {
    const { upstream } = await startUpstream(context, (_request, response) => response.writeHead(500).end());
    await assert.rejects(upstream.get('/'));
    assert.equal(upstream.breaker.state, 'open');
    const { context: request, children, request: span } = recordedRequest();
    await assert.rejects(runInContext(request, () => upstream.get('/')));
    assert.deepEqual(children(), []);
    assert.deepEqual(span.events, [
      { name: 'circuit open', attributes: { 'zerda.upstream': 'user-service' } },
    ]);
  });

  it('does not exist if the bulkhead is full, which is an event of the request', async (context) => {
    const { upstream } = await startUpstream(context, () => undefined, { maxInFlight: 1, timeoutMs: 1000 });
    const waiting = assert.rejects(upstream.get('/'));
    const { context: request, children, request: span } = recordedRequest();
    await assert.rejects(runInContext(request, () => upstream.get('/')));
    assert.deepEqual(children(), []);
    assert.deepEqual(span.events, [
      { name: 'bulkhead full', attributes: { 'zerda.upstream': 'user-service' } },
    ]);
    await waiting;
  });

  it('fails with the reason if there is no response', async (context) => {
    const { upstream } = await startUpstream(context, () => undefined, { timeoutMs: 100 });
    const { context: request, children } = recordedRequest();
    await assert.rejects(runInContext(request, () => upstream.get('/')));
    const [span] = children();
    assert.deepEqual([span?.failed, span?.attributes['error.type'], span?.ended], [true, 'timeout', true]);
  });
});
