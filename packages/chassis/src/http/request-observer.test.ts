import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import request from 'supertest';
import { recordingLogger, testMetrics } from '../../testing/observed.ts';
import { recordingTracer } from '../../testing/tracer.ts';
import { currentContext, type RequestContext, runInContext } from '../request-context.ts';
import {
  createClientInLog,
  createRequestObserver,
  type RequestObserverOptions,
  setRoute,
} from './request-observer.ts';
import { createResponseHeaders } from './response-headers.ts';

const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

function createObservedApp(listener: RequestListener, options: Partial<RequestObserverOptions> = {}) {
  const { logger, lines } = recordingLogger();
  const metrics = testMetrics();
  const responseHeaders = createResponseHeaders();
  const observer = createRequestObserver({ logger, metrics, requestTimeoutMs: 10_000, ...options });
  const app: RequestListener = (incoming, response) =>
    runInContext(observer.begin(incoming, response), () =>
      responseHeaders.set(incoming, response, () => listener(incoming, response)),
    );
  return { app, lines, metrics };
}

describe('request observer', () => {
  it('adopts a valid correlation id in response, context and log', async () => {
    let seen: RequestContext | undefined;
    const { app, lines } = createObservedApp((_incoming, response) => {
      seen = currentContext();
      response.end();
    });
    await request(app).get('/').set('X-Correlation-ID', 'abc-1').expect('x-correlation-id', 'abc-1');
    assert.equal(seen?.correlationId, 'abc-1');
    assert.equal(lines[0]?.correlation_id, 'abc-1');
  });

  it('adopts a valid traceparent only, and starts an unsampled trace otherwise', async () => {
    const seen: (string | undefined)[] = [];
    const { app } = createObservedApp((_incoming, response) => {
      seen.push(currentContext()?.traceparent);
      response.end();
    });
    for (const value of [trace, `${trace}-00`, trace.replace('4b', 'XX')]) {
      await request(app).get('/').set('traceparent', value);
    }
    assert.equal(seen[0], trace);
    for (const started of seen.slice(1)) assert.match(started ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    assert.equal(new Set(seen).size, 3);
  });

  it('returns the trace as traceresponse, and in log lines with the span', async () => {
    const { logger, lines } = recordingLogger();
    const { app } = createObservedApp(
      (_incoming, response) => {
        logger.info('inside');
        response.end();
      },
      { logger },
    );
    await request(app).get('/').set('traceparent', trace).expect('traceresponse', trace);
    assert.deepEqual(
      lines.map(({ msg, trace_id, span_id }) => [msg, trace_id, span_id]),
      ['inside', 'request'].map((msg) => [msg, trace.slice(3, 35), trace.slice(36, 52)]),
    );
  });

  it('starts a new trace if it does not trust the caller, and drops tracestate', async () => {
    let seen: RequestContext | undefined;
    const { app } = createObservedApp(
      (_incoming, response) => {
        seen = currentContext();
        response.end();
      },
      { trustsTraces: false },
    );
    await request(app).get('/').set({ traceparent: trace, tracestate: 'vendor=1', baggage: 'tenant=7' });
    assert.notEqual(seen?.traceparent?.slice(3, 35), trace.slice(3, 35));
    assert.equal(seen?.traceparent?.slice(-3), '-00');
    assert.equal(seen?.tracestate, undefined);
    assert.equal(seen?.baggage, 'tenant=7');
  });

  describe('span of a request', () => {
    it('has the route as its name, and the attributes of the semantic conventions', async () => {
      const { tracer, spans } = recordingTracer();
      const { app, lines } = createObservedApp(
        (_incoming, response) => {
          setRoute(response, '/api/users/{id}');
          response.end();
        },
        { tracer, clientInLog: () => '192.0.2.0/24' },
      );
      const response = await request(app)
        .get('/api/users/7?token=secret')
        .set({ traceparent: trace, 'X-Correlation-ID': 'abc' });
      const [span] = spans;
      assert.equal(response.headers.traceresponse, span?.traceparent);
      assert.equal(lines[0]?.span_id, span?.traceparent.slice(36, 52));
      assert.deepEqual(
        { ...span, traceparent: undefined },
        {
          key: 'request',
          name: 'GET /api/users/{id}',
          traceparent: undefined,
          parent: trace,
          attributes: {
            'http.request.method': 'GET',
            'http.route': '/api/users/{id}',
            'http.response.status_code': 200,
            'url.path': '/api/users/7',
            'url.scheme': 'http',
            'client.address': '192.0.2.0/24',
            'network.protocol.version': '1.1',
            'zerda.correlation_id': 'abc',
          },
          events: [],
          links: [],
          failed: false,
          ended: true,
        },
      );
    });

    it('contains neither the path nor an unknown method of a request without a route', async () => {
      const { tracer, spans } = recordingTracer();
      const { app } = createObservedApp((_incoming, response) => response.writeHead(404).end(), { tracer });
      await request(app).propfind('/secret/path');
      assert.equal(spans[0]?.name, 'HTTP');
      assert.equal(spans[0]?.attributes['http.request.method'], '_OTHER');
      assert.doesNotMatch(JSON.stringify(spans), /secret|PROPFIND/i);
    });

    it('fails with a 5xx status only', async () => {
      const { tracer, spans } = recordingTracer();
      for (const status of [404, 503]) {
        const { app } = createObservedApp((_incoming, response) => response.writeHead(status).end(), {
          tracer,
        });
        await request(app).get('/');
      }
      assert.deepEqual(
        spans.map(({ failed, attributes }) => [failed, attributes['error.type']]),
        [
          [false, undefined],
          [true, '503'],
        ],
      );
    });

    it('links to the trace of an untrusted caller, whose sampling decision has no effect', async () => {
      const { tracer, spans } = recordingTracer();
      const { app } = createObservedApp((_incoming, response) => response.end(), {
        tracer,
        trustsTraces: false,
      });
      await request(app).get('/').set('traceparent', trace.replace(/01$/, '00'));
      assert.deepEqual(spans[0]?.links, [trace.replace(/01$/, '00')]);
      assert.equal(spans[0]?.parent, undefined);
    });

    it('is not recorded if the caller did not sample the trace', async () => {
      const { tracer, spans } = recordingTracer();
      let seen: RequestContext | undefined;
      const { app } = createObservedApp(
        (_incoming, response) => {
          seen = currentContext();
          response.end();
        },
        { tracer },
      );
      const unsampled = trace.replace(/01$/, '00');
      await request(app).get('/').set('traceparent', unsampled).expect('traceresponse', unsampled);
      assert.deepEqual([spans.length, seen?.span, seen?.traceparent], [0, undefined, unsampled]);
    });
  });

  it('creates a correlation id if the header is missing or invalid', async () => {
    const { app } = createObservedApp((_incoming, response) => response.end());
    for (const value of [undefined, 'x'.repeat(65), 'a b', '{"a":1}', 'a,b']) {
      const pending = request(app).get('/');
      if (value !== undefined) pending.set('X-Correlation-ID', value);
      const { headers } = await pending;
      assert.match(String(headers['x-correlation-id']), /^[0-9a-f-]{36}$/);
    }
  });

  it('logs one line per request with route and duration, but without path, query and headers', async () => {
    const { app, lines, metrics } = createObservedApp((_incoming, response) => {
      setRoute(response, '/api/users/{id}');
      response.end('hello');
    });
    await request(app).get('/api/users/7?token=secret').set('Authorization', 'Bearer secret');
    assert.equal(lines.length, 1);
    const {
      time: _time,
      duration_ms,
      bytes,
      correlation_id: _id,
      trace_id,
      span_id,
      ...line
    } = lines[0] ?? {};
    assert.deepEqual(line, {
      service: 'test',
      level: 'info',
      method: 'GET',
      route: '/api/users/{id}',
      status: 200,
      msg: 'request',
    });
    assert.match(`${trace_id} ${span_id}`, /^[0-9a-f]{32} [0-9a-f]{16}$/);
    assert.ok(Number(duration_ms) >= 0 && Number(bytes) > 5);
    assert.match((await metrics.render()).body, /http_route="\/api\/users\/\{id\}"/);
  });

  it('logs the client address and the subject according to its options', async () => {
    const listener: RequestListener = (_incoming, response) => {
      const context = currentContext();
      if (context !== undefined) context.subject = '7';
      response.end();
    };
    for (const [address, form, expected] of [
      ['192.0.2.77', 'full', '192.0.2.77'],
      ['192.0.2.77', 'truncated', '192.0.2.0/24'],
      ['2001:db8:1:2:3::4', 'truncated', '2001:db8:1::/48'],
      ['::1', 'truncated', '0:0:0::/48'],
      ['unknown', 'truncated', 'unknown'],
      ['192.0.2.77', 'off', undefined],
    ] as const) {
      const { app, lines } = createObservedApp(listener, {
        clientInLog: createClientInLog(form, () => address),
      });
      await request(app).get('/');
      assert.deepEqual([lines[0]?.client_address, lines[0]?.subject], [expected, '7']);
    }
    const { app, lines } = createObservedApp(listener, { subjectInLog: false });
    await request(app).get('/');
    assert.equal(lines.length, 1);
    assert.equal(lines[0]?.subject, undefined);
  });

  it('truncates the addresses of many clients, also on repeated requests', () => {
    let address = '';
    const clientInLog = createClientInLog('truncated', () => address);
    for (let index = 0; index < 5000; index += 1) {
      address = `2001:db8:${(index % 2500).toString(16)}::1`;
      assert.equal(clientInLog?.({} as IncomingMessage), `2001:db8:${(index % 2500).toString(16)}::/48`);
    }
  });

  it('records 499 if the client disconnects', async () => {
    const { app, lines } = createObservedApp(() => undefined);
    const server = createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const pending = get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
    pending.on('error', () => undefined);
    await once(server, 'request');
    pending.destroy();
    while (lines.length === 0) await new Promise(setImmediate);
    assert.equal(lines[0]?.status, 499);
    server.close();
  });

  it('allows callers to shorten the deadline, not to extend it', async () => {
    const remaining: number[] = [];
    const { app } = createObservedApp((_incoming, response) => {
      remaining.push(currentContext()?.deadline.remainingMs() ?? Number.NaN);
      response.end();
    });
    for (const value of ['1000', '99999999', 'soon'])
      await request(app).get('/').set('X-Request-Timeout-Ms', value);
    assert.ok((remaining[0] ?? 0) <= 1000 && (remaining[0] ?? 0) > 500);
    assert.ok((remaining[1] ?? 0) <= 10_000 && (remaining[1] ?? 0) > 9000);
    assert.ok((remaining[2] ?? 0) <= 10_000 && (remaining[2] ?? 0) > 9000);
  });
});
