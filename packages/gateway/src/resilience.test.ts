import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, type RequestListener, request } from 'node:http';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises';
import { recordingLogger } from '@zerda/chassis/testing';
import fc from 'fast-check';
import { ask, sendJson, startGateway, tableWith, until } from './testing.ts';

const patientCircuit = { volume: 1000 };

/** Ten calls bring leave for one retry. */
async function earnRetries(url: string, retries: number): Promise<void> {
  for (let call = 0; call < retries * 10; call += 1)
    assert.equal((await ask(`${url}/api/users/stats`)).status, 200);
}

async function retriesOf(gateway: Awaited<ReturnType<typeof startGateway>>): Promise<number> {
  const { body } = await gateway.metrics.render();
  return Number(/http_client_retries_total\{upstream="user-service"\} (\d+)/.exec(body)?.[1] ?? 0);
}

describe('retries', () => {
  it('repeat the first call of a quiet system that meets a connection which was just being closed', async (context) => {
    const gateway = await startGateway(context, { circuit: patientCircuit });
    gateway.users.behaviour = (incoming, response) => {
      if (gateway.users.requests.length === 1) incoming.socket.destroy();
      else sendJson(response, 200, {});
    };
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 200);
    assert.equal(await retriesOf(gateway), 1);
  });

  it('repeat what may be repeated when the connection breaks or the service is busy, and the client sees none of it', async (context) => {
    const gateway = await startGateway(context, { circuit: patientCircuit });
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
        gateway.users.behaviour = async (incoming, response) => {
          calls += 1;
          let body = '';
          for await (const chunk of incoming) body += chunk;
          bodies.push(body);
          if (calls > 1) sendJson(response, 200, { calls });
          else if (failure === 'break') incoming.socket.destroy();
          else sendJson(response, 503, {}, { 'retry-after': '1' });
        };
        const body = method === 'GET' || method === 'DELETE' ? undefined : '{"a":1}';
        const answer = await ask(gateway.url + path, { method, headers, ...(body && { body }) });
        assert.deepEqual([answer.status, answer.text], [200, '{"calls":2}'], `${method} ${failure}`);
        assert.deepEqual(bodies.splice(0), [body ?? '', body ?? ''], `${method} ${failure}`);
      }
    }
    assert.equal(await retriesOf(gateway), 8);
  });

  it('do not wait for the end of an answer that nobody gets', async (context) => {
    const gateway = await startGateway(context, { circuit: patientCircuit });
    await earnRetries(gateway.url, 1);
    let left = false;
    gateway.users.behaviour = (incoming, response) => {
      incoming.socket.once('close', () => {
        left = true;
      });
      response.writeHead(503).write('busy, and at length');
      gateway.users.behaviour = (_incoming, next) => sendJson(next, 200, {});
    };
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 200);
    await until(() => left, 'the end of the first call');
  });

  it('do not repeat what has begun to be answered, be it with an interim answer', async (context) => {
    const gateway = await startGateway(context, { circuit: patientCircuit });
    await earnRetries(gateway.url, 2);
    const before = gateway.users.requests.length;
    gateway.users.behaviour = (incoming, response) => {
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

  it('do not repeat what could be done twice, what depends on others, nor what is too large to keep', async (context) => {
    const gateway = await startGateway(context, { circuit: patientCircuit });
    await earnRetries(gateway.url, 5);
    let calls = 0;
    gateway.users.behaviour = (incoming, response) => {
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
    const once = async (path: string, options: Parameters<typeof ask>[1]) => {
      calls = 0;
      assert.equal((await ask(gateway.url + path, options)).status, 503);
      assert.equal(calls, 1, `${options?.method} ${path}`);
    };
    await once('/api/users', { method: 'POST', body: '{}' });
    await once('/api/users/2', { method: 'GET' });
    await once('/api/users/1', { method: 'PUT', body: Buffer.alloc(65 * 1024) });
    assert.equal(await retriesOf(gateway), 0);
  });

  it('send a body whole although it came in pieces and the connection broke', async (context) => {
    const gateway = await startGateway(context, { circuit: patientCircuit });
    await earnRetries(gateway.url, 6);
    for (const size of [1, 2, 1000, 16 * 1024, 64 * 1024 - 1, 64 * 1024]) {
      const body = Buffer.alloc(size, 'abc');
      let calls = 0;
      gateway.users.behaviour = async (incoming, response) => {
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
      const answered = once(outgoing, 'response');
      for (let sent = 0; sent < size; sent += 1 + size / 5) {
        outgoing.write(body.subarray(sent, sent + 1 + size / 5));
        await nextTurn();
      }
      outgoing.end();
      const [incoming] = await answered;
      const received: Buffer[] = [];
      for await (const chunk of incoming) received.push(chunk);
      assert.equal(incoming.statusCode, 200, `${size} bytes`);
      assert.ok(Buffer.concat(received).equals(body), `${size} bytes`);
    }
    assert.equal(await retriesOf(gateway), 6);
  });

  it('are not made for a client that has gone meanwhile', async (context) => {
    const gateway = await startGateway(context, { circuit: patientCircuit });
    await earnRetries(gateway.url, 1);
    gateway.users.behaviour = (incoming) => void incoming.socket.destroy();
    const before = gateway.users.requests.length;
    // Half a second before the second call.
    context.mock.method(Math, 'random', () => 20);
    const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).on('error', () => undefined);
    outgoing.end();
    while ((await retriesOf(gateway)) === 0) await wait(2);
    outgoing.destroy();
    await until(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
    assert.equal(gateway.users.requests.length, before + 1);
  });

  it('stay a tenth of the traffic and ten a second when everything fails', async (context) => {
    const gateway = await startGateway(context, {
      circuit: { volume: 100_000 },
      users: (_incoming, response) => sendJson(response, 503, {}),
    });
    const calls = 300;
    const begun = performance.now();
    for (let call = 0; call < calls; call += 1) {
      assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 503);
    }
    const retries = gateway.users.requests.length - calls;
    // Beside the tenth, ten a second, and ten at the begin.
    const free = 10 + (performance.now() - begun) / 100;
    assert.ok(retries > calls / 20 && retries <= calls / 10 + free, `${retries} retries of ${calls} calls`);
  });

  it('do not begin once something of the answer is with the client', async (context) => {
    const gateway = await startGateway(context, { circuit: patientCircuit });
    await earnRetries(gateway.url, 1);
    const before = gateway.users.requests.length;
    gateway.users.behaviour = (incoming, response) => {
      response.write('half');
      setImmediate(() => incoming.socket.destroy());
    };
    await assert.rejects(ask(`${gateway.url}/api/users/1`));
    assert.equal(gateway.users.requests.length, before + 1);
  });
});

describe('bulkhead', () => {
  it('refuses calls above those in flight at once, with a problem of its own, and leaves the circuit closed', async (context) => {
    const gateway = await startGateway(context, { maxInFlight: 3, users: () => undefined });
    const held = Array.from({ length: 3 }, () => {
      const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).on('error', () => undefined);
      outgoing.end();
      return outgoing;
    });
    await until(() => gateway.users.requests.length === 3, 'three calls');
    for (let call = 0; call < 10; call += 1) {
      const answer = await ask(`${gateway.url}/api/users/1`);
      assert.equal(answer.status, 503);
      assert.equal(answer.headers['x-problem'], 'upstream-overloaded');
      assert.equal(answer.headers['retry-after'], '1');
    }
    assert.equal(gateway.users.requests.length, 3);
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    for (const outgoing of held) outgoing.destroy();
    await until(() => gateway.upstreams.users.inFlight === 0, 'room for more');
  });

  it('counts a call to the end of its body', async (context) => {
    let finish = (): void => undefined;
    const gateway = await startGateway(context, {
      maxInFlight: 1,
      users: (_incoming, response) => {
        response.write('begun, ');
        finish = () => response.end('ended');
      },
    });
    const whole = ask(`${gateway.url}/api/users/1`);
    await until(() => gateway.users.requests.length === 1, 'the call');
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 503);
    finish();
    assert.equal((await whole).text, 'begun, ended');
    await until(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
  });
});

describe('circuit breaker', () => {
  it('opens for an upstream that hangs, although every client gives up before its time', async (context) => {
    const gateway = await startGateway(context, {
      users: () => undefined,
      table: tableWith({ slow_ms: 50 }),
      circuit: { volume: 5 },
    });
    for (let call = 1; call <= 5; call += 1) {
      const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).on('error', () => undefined);
      outgoing.end();
      await new Promise((resolve) => setTimeout(resolve, 80));
      outgoing.destroy();
    }
    await until(() => gateway.upstreams.users.breaker.state === 'open', 'the open circuit');
    let fastest = Number.POSITIVE_INFINITY;
    for (let call = 0; call < 10; call += 1) {
      const askedAt = performance.now();
      const answer = await ask(`${gateway.url}/api/users/1`);
      fastest = Math.min(fastest, performance.now() - askedAt);
      assert.equal(answer.headers['x-problem'], 'upstream-unavailable');
      assert.ok(Number(answer.headers['retry-after']) >= 1);
    }
    assert.ok(fastest < 5, `${fastest} ms`);
  });

  it('sees a probe to its end although its client has gone, and closes by it', async (context) => {
    let answer: (() => void) | undefined;
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, {
      logger,
      users: (incoming) => void incoming.socket.destroy(),
      circuit: { volume: 1, resetMs: 200, windowMs: 200 },
    });
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 502);
    await until(() => gateway.upstreams.users.breaker.state === 'half-open', 'half-open');
    gateway.users.behaviour = (_incoming, response) => {
      answer = () => sendJson(response, 200, {});
    };
    const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).on('error', () => undefined);
    outgoing.end();
    await until(() => answer !== undefined, 'the probe');
    const { socket } = gateway.users.requests.at(-1) ?? {};
    outgoing.destroy();
    await until(() => lines.some(({ status }) => status === 499), 'the gateway to see it go');
    assert.equal(socket?.destroyed, false);
    answer?.();
    await until(() => gateway.upstreams.users.breaker.state === 'closed', 'closed');
  });
});

describe('clients that go away', () => {
  for (const [circuit, volume] of [
    ['never opens', 1_000_000],
    ['opens and is tried', 20],
  ] as const)
    it(`leave nothing behind, at whatever stage of their request they go, where the circuit ${circuit}`, async (context) => {
      const warnings: Error[] = [];
      const onWarning = (warning: Error): void => void warnings.push(warning);
      process.on('warning', onWarning);
      context.after(() => process.off('warning', onWarning));
      const behaviours: Readonly<Record<string, RequestListener>> = {
        answer: (incoming, response) => void incoming.resume().on('end', () => sendJson(response, 200, {})),
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
          behaviours[String(incoming.headers['x-do'])]?.(incoming, response);
        },
      });
      const timers = (): number =>
        process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
      const timersBefore = timers();
      const client = fc.record({
        does: fc.constantFrom(...Object.keys(behaviours)),
        pieces: fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 3 }),
        pipelined: fc.integer({ min: 1, max: 3 }),
        goesAfterMs: fc.integer({ min: 0, max: 90 }),
        resets: fc.boolean(),
        reads: fc.boolean(),
      });

      type Client = typeof client extends fc.Arbitrary<infer Value> ? Value : never;

      async function live({ does, pieces, pipelined, goesAfterMs, resets, reads }: Client) {
        const socket = connect(gateway.port, '127.0.0.1').on('error', () => undefined);
        const head = pieces.length === 0 ? 'GET /api/users/1' : 'PUT /api/users/1';
        const framing = pieces.length === 0 ? '' : 'Transfer-Encoding: chunked\r\n';
        if (reads) socket.resume();
        const gone = wait(goesAfterMs).then(() => (resets ? socket.resetAndDestroy() : socket.destroy()));
        for (let count = 0; count < pipelined; count += 1) {
          socket.write(`${head} HTTP/1.1\r\nHost: a\r\nX-Do: ${does}\r\n${framing}\r\n`);
          for (const size of pieces) {
            await wait(1);
            socket.write(`${size.toString(16)}\r\n${'x'.repeat(size)}\r\n`);
          }
          if (pieces.length > 0 && count + 1 < pipelined) socket.write('0\r\n\r\n');
        }
        await gone;
      }
      await fc.assert(
        fc.asyncProperty(fc.array(client, { minLength: 20, maxLength: 60 }), async (clients) => {
          await Promise.all(clients.map(live));
          const { users } = gateway.upstreams;
          await until(() => users.inFlight === 0, 'the end of all calls');
          await until(() => {
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
      await until(() => timers() <= timersBefore, 'the end of all timers');
      assert.deepEqual(warnings, []);
    });
});
