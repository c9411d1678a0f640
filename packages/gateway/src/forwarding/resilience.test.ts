import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, type RequestListener, request, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises';
import { type HttpRequest, sendRequest } from '@zerda/chassis/testing/http';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import fc from 'fast-check';
import { startGateway, tableWith } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';

const tolerantCircuit = { volume: 1000 };

/** Makes the successful calls that earn the budget for this many retries: ten for each. */
async function earnRetries(url: string, retries: number): Promise<void> {
  for (let call = 0; call < retries * 10; call += 1)
    assert.equal((await sendRequest(`${url}/api/users/stats`)).status, 200);
}

async function retriesOf(gateway: Awaited<ReturnType<typeof startGateway>>): Promise<number> {
  const { body } = await gateway.metrics.render();
  return Number(/http_client_retries_total\{upstream="user-service"\} (\d+)/.exec(body)?.[1] ?? 0);
}

describe('retries', () => {
  it('repeat the first call after an idle time when the service closes its connection', async (context) => {
    const gateway = await startGateway(context, { circuit: tolerantCircuit });
    gateway.users.listener = (incoming, response) => {
      if (gateway.users.requests.length === 1) incoming.socket.destroy();
      else sendJson(response, 200, {});
    };
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 200);
    assert.equal(await retriesOf(gateway), 1);
  });

  it('repeat idempotent calls when the connection breaks or the service is busy, transparently to the client', async (context) => {
    const gateway = await startGateway(context, { circuit: tolerantCircuit });
    await earnRetries(gateway.url, 8);
    const bodies: string[] = [];
    for (const [method, path, headers] of [
      ['GET', '/api/users/1', {}],
      ['PUT', '/api/users/1', {}],
      ['DELETE', '/api/users/1', {}],
      ['POST', '/api/users', { 'idempotency-key': 'k' }],
    ] as const) {
      for (const failure of ['break', 'busy']) {
        let calls = 0;
        gateway.users.listener = async (incoming, response) => {
          calls += 1;
          let body = '';
          for await (const chunk of incoming) body += chunk;
          bodies.push(body);
          if (calls > 1) sendJson(response, 200, { calls });
          else if (failure === 'break') incoming.socket.destroy();
          else sendJson(response, 503, {}, { 'retry-after': '1' });
        };
        const body = method === 'GET' || method === 'DELETE' ? undefined : '{"a":1}';
        const gatewayResponse = await sendRequest(gateway.url + path, {
          method,
          headers,
          ...(body && { body }),
        });
        assert.deepEqual(
          [gatewayResponse.status, gatewayResponse.text],
          [200, '{"calls":2}'],
          `${method} ${failure}`,
        );
        assert.deepEqual(bodies.splice(0), [body ?? '', body ?? ''], `${method} ${failure}`);
      }
    }
    assert.equal(await retriesOf(gateway), 8);
  });

  it('do not wait for the end of the discarded response', async (context) => {
    const gateway = await startGateway(context, { circuit: tolerantCircuit });
    await earnRetries(gateway.url, 1);
    let isClosed = false;
    gateway.users.listener = (incoming, response) => {
      incoming.socket.once('close', () => {
        isClosed = true;
      });
      response.writeHead(503).write('busy, and at length');
      gateway.users.listener = (_incoming, next) => sendJson(next, 200, {});
    };
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 200);
    await eventually(() => isClosed, 'the end of the first call');
  });

  it('pass a busy response unchanged when the budget is exhausted', async (context) => {
    const gateway = await startGateway(context, { circuit: tolerantCircuit });
    const body = 'busy, and at length. '.repeat(20_000);
    gateway.users.listener = (incoming, response) => {
      response.writeHead(503, { 'retry-after': '7', 'content-length': String(body.length) });
      response.end(incoming.method === 'HEAD' ? undefined : body);
    };
    const call = async (method: string) => {
      const { status, headers, text } = await sendRequest(`${gateway.url}/api/users/1`, { method });
      assert.deepEqual([status, headers['retry-after']], [503, '7']);
      assert.equal(headers['content-length'], String(body.length));
      assert.ok(text === (method === 'HEAD' ? '' : body), `${text.length} bytes to ${method}`);
    };
    const before = performance.now();
    for (let round = 0; round < 10; round += 1)
      await Promise.all(['GET', 'HEAD', 'GET', 'HEAD', 'GET', 'HEAD'].map(call));
    const expectedRetries = 10 + 6 + (performance.now() - before) / 100;
    assert.ok((await retriesOf(gateway)) <= expectedRetries);
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the end of all calls');
  });

  it('do not repeat a call after a response has started, even an interim response', async (context) => {
    const gateway = await startGateway(context, { circuit: tolerantCircuit });
    await earnRetries(gateway.url, 2);
    const before = gateway.users.requests.length;
    gateway.users.listener = (incoming, response) => {
      response.writeEarlyHints({ link: '</a.css>; rel=preload' });
      setImmediate(() => incoming.socket.destroy());
    };
    const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).end();
    const hinted = once(outgoing, 'information');
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    incoming.resume();
    await hinted;
    assert.equal(incoming.statusCode, 502);
    assert.equal(gateway.users.requests.length - before, 1);
  });

  it('do not repeat non-idempotent calls, dependency failures, or bodies too large to buffer', async (context) => {
    const gateway = await startGateway(context, { circuit: tolerantCircuit });
    await earnRetries(gateway.url, 5);
    let calls = 0;
    gateway.users.listener = (incoming, response) => {
      calls += 1;
      incoming
        .resume()
        .on('end', () =>
          sendJson(
            response,
            503,
            {},
            { 'x-problem': incoming.url === '/api/users/2' ? 'dependency-unavailable' : 'busy' },
          ),
        );
    };
    const assertCalledOnce = async (path: string, options: HttpRequest) => {
      calls = 0;
      assert.equal((await sendRequest(gateway.url + path, options)).status, 503);
      assert.equal(calls, 1, `${options?.method} ${path}`);
    };
    await assertCalledOnce('/api/users', { method: 'POST', body: '{}' });
    await assertCalledOnce('/api/users/2', { method: 'GET' });
    await assertCalledOnce('/api/users/1', { method: 'PUT', body: Buffer.alloc(65 * 1024) });
    assert.equal(await retriesOf(gateway), 0);
  });

  it('resend the whole body after it arrived in chunks and the connection broke', async (context) => {
    const gateway = await startGateway(context, { circuit: tolerantCircuit });
    await earnRetries(gateway.url, 6);
    for (const size of [1, 2, 1000, 16 * 1024, 64 * 1024 - 1, 64 * 1024]) {
      const body = Buffer.alloc(size, 'abc');
      let calls = 0;
      gateway.users.listener = async (incoming, response) => {
        calls += 1;
        const chunks: Buffer[] = [];
        incoming.on('error', () => undefined);
        incoming.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          if (calls === 1) incoming.socket.destroy();
        });
        incoming.on('end', () => response.end(Buffer.concat(chunks)));
      };
      const outgoing = request(`${gateway.url}/api/users/1`, {
        method: 'PUT',
        agent: false,
        headers: { 'transfer-encoding': 'chunked' },
      });
      const responsePromise = once(outgoing, 'response');
      for (let sent = 0; sent < size; sent += 1 + size / 5) {
        outgoing.write(body.subarray(sent, sent + 1 + size / 5));
        await nextTurn();
      }
      outgoing.end();
      const [incoming] = await responsePromise;
      const received: Buffer[] = [];
      for await (const chunk of incoming) received.push(chunk);
      assert.equal(incoming.statusCode, 200, `${size} bytes`);
      assert.ok(Buffer.concat(received).equals(body), `${size} bytes`);
    }
    assert.equal(await retriesOf(gateway), 6);
  });

  it('are not made after the client has disconnected', async (context) => {
    const gateway = await startGateway(context, { circuit: tolerantCircuit });
    await earnRetries(gateway.url, 1);
    gateway.users.listener = (incoming) => void incoming.socket.destroy();
    const before = gateway.users.requests.length;
    // Half a second passes before the second call.
    context.mock.method(Math, 'random', () => 20);
    const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).on('error', () => undefined);
    outgoing.end();
    while ((await retriesOf(gateway)) === 0) await wait(2);
    outgoing.destroy();
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
    assert.equal(gateway.users.requests.length, before + 1);
  });

  it('stay within 10 % of the traffic plus ten per second when every call fails', async (context) => {
    const gateway = await startGateway(context, {
      circuit: { volume: 100_000 },
      users: (_incoming, response) => sendJson(response, 503, {}),
    });
    const calls = 300;
    const startedAt = performance.now();
    for (let call = 0; call < calls; call += 1) {
      assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 503);
    }
    const retries = gateway.users.requests.length - calls;
    // In addition to 10 %: ten per second, and ten initially.
    const expectedRetries = 10 + (performance.now() - startedAt) / 100;
    assert.ok(
      retries > calls / 20 && retries <= calls / 10 + expectedRetries,
      `${retries} retries of ${calls} calls`,
    );
  });

  it('do not start after part of the response has been sent', async (context) => {
    const gateway = await startGateway(context, { circuit: tolerantCircuit });
    await earnRetries(gateway.url, 1);
    const before = gateway.users.requests.length;
    gateway.users.listener = (incoming, response) => {
      response.write('half');
      setImmediate(() => incoming.socket.destroy());
    };
    await assert.rejects(sendRequest(`${gateway.url}/api/users/1`));
    assert.equal(gateway.users.requests.length, before + 1);
  });
});

describe('bulkhead', () => {
  it('rejects calls above its limit with its own problem, and keeps the circuit closed', async (context) => {
    const gateway = await startGateway(context, { maxInFlight: 3, users: () => undefined });
    const held = Array.from({ length: 3 }, () => {
      const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).on('error', () => undefined);
      outgoing.end();
      return outgoing;
    });
    await eventually(() => gateway.users.requests.length === 3, 'three calls');
    for (let call = 0; call < 10; call += 1) {
      const gatewayResponse = await sendRequest(`${gateway.url}/api/users/1`);
      assert.equal(gatewayResponse.status, 503);
      assert.equal(gatewayResponse.headers['x-problem'], 'upstream-overloaded');
      assert.equal(gatewayResponse.headers['retry-after'], '1');
    }
    assert.equal(gateway.users.requests.length, 3);
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    for (const outgoing of held) outgoing.destroy();
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
  });

  it('counts a call until the end of the response body', async (context) => {
    let finish = (): void => undefined;
    const gateway = await startGateway(context, {
      maxInFlight: 1,
      users: (_incoming, response) => {
        response.write('begun, ');
        finish = () => response.end('ended');
      },
    });
    const whole = sendRequest(`${gateway.url}/api/users/1`);
    await eventually(() => gateway.users.requests.length === 1, 'the call');
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 503);
    finish();
    assert.equal((await whole).text, 'begun, ended');
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
  });
});

describe('circuit breaker', () => {
  it('opens for an upstream that hangs, even if every client disconnects before the timeout', async (context) => {
    const gateway = await startGateway(context, {
      users: () => undefined,
      table: tableWith({ slow_ms: 50 }),
      circuit: { volume: 5 },
    });
    for (let call = 1; call <= 5; call += 1) {
      const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).on('error', () => undefined);
      outgoing.end();
      await eventually(() => gateway.users.requests.length === call, 'the call at the service');
      // Longer than `slow_ms`, from when the call has certainly started.
      await wait(80);
      outgoing.destroy();
    }
    await eventually(() => gateway.upstreams.users.breaker.state === 'open', 'the open circuit');
    let fastest = Number.POSITIVE_INFINITY;
    for (let call = 0; call < 10; call += 1) {
      const sentAt = performance.now();
      const gatewayResponse = await sendRequest(`${gateway.url}/api/users/1`);
      fastest = Math.min(fastest, performance.now() - sentAt);
      assert.equal(gatewayResponse.headers['x-problem'], 'upstream-unavailable');
      assert.ok(Number(gatewayResponse.headers['retry-after']) >= 1);
    }
    assert.ok(fastest < 5, `${fastest} ms`);
  });

  it('closes as soon as a service that refused connections accepts one, before its first response', async (context) => {
    const gateway = await startGateway(context, { circuit: { volume: 1, resetMs: 500 } });
    const { port } = gateway.users;
    await gateway.users.stop();
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 502);
    assert.equal(gateway.upstreams.users.breaker.state, 'open');
    const held: ServerResponse[] = [];
    await startHttpServer(context, (_incoming, response) => void held.push(response), port);
    await eventually(() => gateway.upstreams.users.breaker.state === 'half-open');
    const calls = [1, 2, 3].map(async (id) => {
      await eventually(() => id === 1 || held.length > 0);
      return sendRequest(`${gateway.url}/api/users/${id}`);
    });
    await eventually(() => held.length === 3);
    for (const response of held) sendJson(response, 200, {});
    for (const { status } of await Promise.all(calls)) assert.equal(status, 200);
  });

  it('completes a probe whose client has disconnected, and closes', async (context) => {
    let sendResponse: (() => void) | undefined;
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, {
      logger,
      users: (incoming) => void incoming.socket.destroy(),
      circuit: { volume: 1, resetMs: 200, windowMs: 200 },
    });
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 502);
    await eventually(() => gateway.upstreams.users.breaker.state === 'half-open', 'half-open');
    gateway.users.listener = (_incoming, response) => {
      sendResponse = () => sendJson(response, 200, {});
    };
    const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).on('error', () => undefined);
    outgoing.end();
    await eventually(() => sendResponse !== undefined, 'the probe');
    const { socket } = gateway.users.requests.at(-1) ?? {};
    outgoing.destroy();
    await eventually(
      () => lines.some(({ status }) => status === 499),
      'the gateway to notice the disconnect',
    );
    assert.equal(socket?.destroyed, false);
    sendResponse?.();
    await eventually(() => gateway.upstreams.users.breaker.state === 'closed', 'closed');
  });
});

describe('clients that disconnect', () => {
  for (const [circuit, volume] of [
    ['never opens', 1_000_000],
    ['opens and is probed', 20],
  ] as const)
    it(`leave no calls behind, at any stage of the request, when the circuit ${circuit}`, async (context) => {
      const warnings: Error[] = [];
      const onWarning = (warning: Error): void => void warnings.push(warning);
      process.on('warning', onWarning);
      context.after(() => process.off('warning', onWarning));
      const listeners: Readonly<Record<string, RequestListener>> = {
        response: (incoming, response) => void incoming.resume().on('end', () => sendJson(response, 200, {})),
        early: (_incoming, response) => sendJson(response, 200, {}),
        hang: () => undefined,
        busy: (_incoming, response) => sendJson(response, 503, {}),
        close: (incoming) => void incoming.socket.destroy(),
        cut: (incoming, response) => void response.write('half', () => incoming.socket.destroy()),
        drip: (_incoming, response) => {
          const timer = setInterval(() => response.write(Buffer.alloc(20_000)), 2);
          response.on('close', () => clearInterval(timer));
          setTimeout(() => response.end(), 30);
        },
      };
      const gateway = await startGateway(context, {
        table: tableWith({
          timeout_ms: 60,
          slow_ms: 20,
          idle_timeout_ms: 50,
          body_limit_bytes: 5000,
          retries: 2,
        }),
        circuit: { volume, resetMs: 100, windowMs: 100 },
        maxInFlight: 40,
        users: (incoming, response) => {
          incoming.on('error', () => undefined);
          listeners[String(incoming.headers['x-behavior'])]?.(incoming, response);
        },
      });
      const timers = (): number =>
        process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
      const timersBefore = timers();
      const client = fc.record({
        behavior: fc.constantFrom(...Object.keys(listeners)),
        pieces: fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 3 }),
        pipelined: fc.integer({ min: 1, max: 3 }),
        disconnectsAfterMs: fc.integer({ min: 0, max: 90 }),
        resets: fc.boolean(),
        reads: fc.boolean(),
      });

      type Client = typeof client extends fc.Arbitrary<infer Value> ? Value : never;

      /** Sends requests and disconnects. */
      async function runClient({ behavior, pieces, pipelined, disconnectsAfterMs, resets, reads }: Client) {
        const socket = connect(gateway.port, '127.0.0.1').on('error', () => undefined);
        const head = pieces.length === 0 ? 'GET /api/users/1' : 'PUT /api/users/1';
        const framing = pieces.length === 0 ? '' : 'Transfer-Encoding: chunked\r\n';
        if (reads) socket.resume();
        const disconnected = wait(disconnectsAfterMs).then(() =>
          resets ? socket.resetAndDestroy() : socket.destroy(),
        );
        for (let count = 0; count < pipelined; count += 1) {
          socket.write(`${head} HTTP/1.1\r\nHost: a\r\nX-Behavior: ${behavior}\r\n${framing}\r\n`);
          for (const size of pieces) {
            await wait(1);
            socket.write(`${size.toString(16)}\r\n${'x'.repeat(size)}\r\n`);
          }
          if (pieces.length > 0 && count + 1 < pipelined) socket.write('0\r\n\r\n');
        }
        await disconnected;
      }
      await fc.assert(
        fc.asyncProperty(fc.array(client, { minLength: 20, maxLength: 60 }), async (clients) => {
          await Promise.all(clients.map(runClient));
          const { users } = gateway.upstreams;
          await eventually(() => users.inFlight === 0, 'the end of all calls');
          await eventually(() => {
            const { running, queued, addresses } = users.dispatcher.stats;
            return running === 0 && queued === 0 && addresses.every(({ inFlight }) => inFlight === 0);
          }, 'the end of all requests to the service');
        }),
        { numRuns: 15, endOnFailure: true },
      );
      let text = '';
      const read = async (): Promise<boolean> => {
        text = (await gateway.metrics.render()).body;
        return /^http_server_active_requests 0$/m.test(text);
      };
      for (let tries = 0; !(await read()) && tries < 1000; tries += 1) await wait(2);
      assert.match(text, /^http_server_active_requests 0$/m);
      await eventually(() => timers() <= timersBefore, 'the end of all timers');
      assert.deepEqual(warnings, []);
    });
});
