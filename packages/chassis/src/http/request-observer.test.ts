import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import request from 'supertest';
import { currentContext, type RequestContext, runInContext } from '../request-context.ts';
import { recordingLogger, testMetrics } from '../testing.ts';
import { createAnswerHeaders } from './answer-headers.ts';
import {
  createClientInLog,
  createRequestObserver,
  type RequestObserverOptions,
  setRoute,
} from './request-observer.ts';

function observed(answer: RequestListener, options: Partial<RequestObserverOptions> = {}) {
  const { logger, lines } = recordingLogger();
  const metrics = testMetrics();
  const answerHeaders = createAnswerHeaders();
  const observer = createRequestObserver({ logger, metrics, requestTimeoutMs: 10_000, ...options });
  const app: RequestListener = (incoming, response) =>
    runInContext(observer.begin(incoming, response), () =>
      answerHeaders.set(incoming, response, () => answer(incoming, response)),
    );
  return { app, lines, metrics };
}

describe('request observer', () => {
  it('adopts a plain correlation id: answer, context and log have it', async () => {
    let seen: RequestContext | undefined;
    const { app, lines } = observed((_incoming, response) => {
      seen = currentContext();
      response.end();
    });
    await request(app).get('/').set('X-Correlation-ID', 'abc-1').expect('x-correlation-id', 'abc-1');
    assert.equal(seen?.correlationId, 'abc-1');
    assert.equal(lines[0]?.correlation_id, 'abc-1');
  });

  it('adopts the trace of its caller, and nothing that is none', async () => {
    const seen: unknown[] = [];
    const { app } = observed((_incoming, response) => {
      seen.push(currentContext()?.traceparent);
      response.end();
    });
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    for (const given of [trace, `${trace}-00`, trace.replace('4b', 'XX')]) {
      await request(app).get('/').set('traceparent', given);
    }
    assert.deepEqual(seen, [trace, undefined, undefined]);
  });

  it('makes a new correlation id when there is none, or a long or odd one', async () => {
    const { app } = observed((_incoming, response) => response.end());
    for (const given of [undefined, 'x'.repeat(65), 'a b', '{"a":1}', 'a,b']) {
      const pending = request(app).get('/');
      if (given !== undefined) pending.set('X-Correlation-ID', given);
      const { headers } = await pending;
      assert.match(String(headers['x-correlation-id']), /^[0-9a-f-]{36}$/);
    }
  });

  it('writes one line a request: what and how long, never the path, a query or a header', async () => {
    const { app, lines, metrics } = observed((_incoming, response) => {
      setRoute(response, '/api/users/{id}');
      response.end('hello');
    });
    await request(app).get('/api/users/7?token=secret').set('Authorization', 'Bearer secret');
    assert.equal(lines.length, 1);
    const { time: _time, duration_ms, bytes, correlation_id: _id, ...line } = lines[0] ?? {};
    assert.deepEqual(line, {
      service: 'test',
      level: 'info',
      method: 'GET',
      route: '/api/users/{id}',
      status: 200,
      msg: 'request',
    });
    assert.ok(Number(duration_ms) >= 0 && Number(bytes) > 5);
    assert.match((await metrics.render()).body, /http_route="\/api\/users\/\{id\}"/);
  });

  it('writes the client address and the subject into the line, as its options say', async () => {
    const answer: RequestListener = (_incoming, response) => {
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
      const { app, lines } = observed(answer, { clientInLog: createClientInLog(form, () => address) });
      await request(app).get('/');
      assert.deepEqual([lines[0]?.client_address, lines[0]?.subject], [expected, '7']);
    }
    const { app, lines } = observed(answer, { subjectInLog: false });
    await request(app).get('/');
    assert.equal(lines.length, 1);
    assert.equal(lines[0]?.subject, undefined);
  });

  it('truncates the address of each of many clients, also when they come again', () => {
    let address = '';
    const clientInLog = createClientInLog('truncated', () => address);
    for (let index = 0; index < 5000; index += 1) {
      address = `2001:db8:${(index % 2500).toString(16)}::1`;
      assert.equal(clientInLog?.({} as IncomingMessage), `2001:db8:${(index % 2500).toString(16)}::/48`);
    }
  });

  it('counts a caller who went away as 499', async () => {
    const { app, lines } = observed(() => undefined);
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

  it('lets the caller shorten the deadline, never lengthen it', async () => {
    const remaining: number[] = [];
    const { app } = observed((_incoming, response) => {
      remaining.push(currentContext()?.deadline.remainingMs() ?? Number.NaN);
      response.end();
    });
    for (const given of ['1000', '99999999', 'soon'])
      await request(app).get('/').set('X-Request-Timeout-Ms', given);
    assert.ok((remaining[0] ?? 0) <= 1000 && (remaining[0] ?? 0) > 500);
    assert.ok((remaining[1] ?? 0) <= 10_000 && (remaining[1] ?? 0) > 9000);
    assert.ok((remaining[2] ?? 0) <= 10_000 && (remaining[2] ?? 0) > 9000);
  });
});
