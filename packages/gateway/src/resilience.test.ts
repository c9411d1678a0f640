import assert from 'node:assert/strict';
import { request } from 'node:http';
import { describe, it } from 'node:test';
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

  it('stay a tenth of the traffic when everything fails', async (context) => {
    const gateway = await startGateway(context, {
      circuit: { volume: 100_000 },
      users: (_incoming, response) => sendJson(response, 503, {}),
    });
    const calls = 300;
    for (let call = 0; call < calls; call += 1) {
      assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 503);
    }
    const load = gateway.users.requests.length / calls;
    assert.ok(load > 1.05 && load <= 1.1, `${load} times the traffic`);
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
    const gateway = await startGateway(context, {
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
    await until(() => outgoing.destroyed, 'the end of the client');
    assert.equal(socket?.destroyed, false);
    answer?.();
    await until(() => gateway.upstreams.users.breaker.state === 'closed', 'closed');
  });
});
