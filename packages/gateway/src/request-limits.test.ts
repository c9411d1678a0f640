import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { recordingLogger } from '@zerda/chassis/testing';
import { ask, sendJson, startGateway, tableWith, until } from './testing.ts';

async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of incoming) text += chunk;
  return text;
}

/** The answer to a request that goes on sending, whatever happens to the connection afterwards. */
async function answerWhileSending(
  outgoing: ClientRequest,
): Promise<{ status: number; connection: unknown; code: string }> {
  const chunk = Buffer.alloc(16 * 1024);
  let sending = true;
  const send = (): void => {
    if (!sending) return;
    if (outgoing.write(chunk)) setImmediate(send);
    else outgoing.once('drain', send);
  };
  send();
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  sending = false;
  outgoing.on('error', () => undefined);
  const text = await textOf(incoming);
  return {
    status: incoming.statusCode ?? 0,
    connection: incoming.headers.connection,
    code: JSON.parse(text).type,
  };
}

function post(url: string, headers: Record<string, string>): ClientRequest {
  return request(`${url}/api/users`, { method: 'POST', agent: false, headers });
}

/** Sends bytes as they are; resolves with all that comes back until the connection ends. */
async function exchange(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
  socket.setTimeout(5000, () => socket.destroy(new Error('no end')));
  let text = '';
  for await (const chunk of socket.setEncoding('latin1')) text += chunk;
  return text;
}

describe('body limit', () => {
  const table = tableWith({ body_limit_bytes: 100 });

  it('refuses a body that says it is larger, asks nobody, and closes the connection', async (context) => {
    const gateway = await startGateway(context, { table });
    const answer = await answerWhileSending(post(gateway.url, { 'content-length': String(2 ** 30) }));
    assert.deepEqual(answer, { status: 413, connection: 'close', code: '/problems/payload-too-large' });
    assert.equal(gateway.users.requests.length, 0);
  });

  it('refuses a chunked body once it is larger, ends the call, and closes the connection', async (context) => {
    const gateway = await startGateway(context, { table, users: (incoming) => void incoming.resume() });
    const answer = await answerWhileSending(post(gateway.url, { 'transfer-encoding': 'chunked' }));
    assert.deepEqual(answer, { status: 413, connection: 'close', code: '/problems/payload-too-large' });
    await until(() => gateway.users.requests.every(({ socket }) => socket.destroyed), 'the end of the call');
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    assert.equal(gateway.upstreams.users.inFlight, 0);
  });

  it('lets a body of exactly the limit pass', async (context) => {
    const gateway = await startGateway(context, {
      table,
      users: async (incoming, response) => sendJson(response, 200, (await textOf(incoming)).length),
    });
    for (const headers of [{ 'content-length': '100' }, { 'transfer-encoding': 'chunked' }]) {
      const answer = await ask(`${gateway.url}/api/users`, {
        method: 'POST',
        headers,
        body: 'x'.repeat(100),
      });
      assert.deepEqual([answer.status, answer.text], [200, '100']);
    }
  });
});

describe('a client that expects 100-continue', () => {
  it('is not asked for a body that is refused anyway', async (context) => {
    const gateway = await startGateway(context, { table: tableWith({ body_limit_bytes: 100 }) });
    for (const [method, length, status] of [
      ['PATCH', 10, 405],
      ['POST', 101, 413],
    ] as const) {
      const outgoing = request(`${gateway.url}/api/users`, {
        method,
        agent: false,
        headers: { expect: '100-continue', 'content-length': String(length) },
      });
      let continued = false;
      outgoing.on('continue', () => {
        continued = true;
      });
      outgoing.flushHeaders();
      const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
      assert.deepEqual([incoming.statusCode, continued], [status, false]);
      outgoing.on('error', () => undefined).destroy();
    }
    assert.equal(gateway.users.requests.length, 0);
  });
});

describe('Upgrade', () => {
  it('is answered 501 and never forwarded', async (context) => {
    const gateway = await startGateway(context);
    const head = 'GET /api/users/1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\n';
    const answer = await exchange(
      gateway.port,
      `${head}Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 501 [\s\S]*\/problems\/upgrade-unsupported/);
    assert.equal(gateway.users.requests.length, 0);
  });

  it('is ignored where HTTP/1.1 does as well (RFC 9110, section 7.8)', async (context) => {
    const gateway = await startGateway(context);
    for (const [upgrade, version = '1.1', connection = 'Upgrade, close'] of [
      ['TLS/1.2'],
      ['TLS/1.3, TLS/1.2'],
      ['HTTP/2.0, SHTTP/1.3, IRC/6.9'],
      ['h2c'],
      ['tcp'],
      ['websocket', '1.0'],
      ['websocket', '1.1', 'close'],
      ['TLS/1.2', '1.0'],
    ]) {
      const head = `GET /api/users/1 HTTP/${version}\r\nHost: a\r\nConnection: ${connection}\r\n`;
      const answer = await exchange(gateway.port, `${head}Upgrade: ${upgrade}\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 200 /, `${upgrade} ${version}`);
      assert.equal(gateway.users.requests.at(-1)?.headers.upgrade, undefined);
    }
    const post = `POST /api/users HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: TLS/1.2\r\n`;
    const headers = 'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}';
    assert.match(await exchange(gateway.port, post + headers), /^HTTP\/1\.1 200 /);
  });

  it('is overlooked when it offers HTTP/2, as curl does', async (context) => {
    const gateway = await startGateway(context);
    const head = 'GET /api/users/1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n';
    assert.match(
      await exchange(gateway.port, `${head}Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`),
      /^HTTP\/1\.1 200 /,
    );
    assert.equal(gateway.users.requests[0]?.headers.upgrade, undefined);
    assert.equal(gateway.users.requests[0]?.headers['http2-settings'], undefined);
  });

  it('never makes a tunnel', async (context) => {
    const gateway = await startGateway(context);
    const answer = await exchange(gateway.port, 'CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.doesNotMatch(answer, /^HTTP\/1\.1 2/);
  });
});

describe('interim answers', () => {
  it('do not pile up for a client that does not read them', async (context) => {
    const hint = { link: '</a.css>; rel=preload', 'x-filler': 'x'.repeat(4000) };
    const hints = 10_000;
    const gateway = await startGateway(context, {
      users: async (_incoming, response) => {
        for (let sent = 0; sent < hints; sent += 1) {
          response.writeEarlyHints(hint);
          if (response.socket?.writableNeedDrain) await once(response.socket, 'drain');
        }
        sendJson(response, 200, { final: true });
      },
    });
    const socket = connect(gateway.port, '127.0.0.1');
    socket.write('GET /api/users/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    await until(() => gateway.upstreams.users.breaker.history.successes === 1, 'the final answer');
    let text = '';
    for await (const chunk of socket.setEncoding('latin1')) text += chunk;
    assert.match(text, /\{"final":true\}/);
    const passed = text.split('HTTP/1.1 103 ').length - 1;
    assert.ok(passed > 0 && passed < hints / 2, `${passed} of ${hints} hints`);
  });
});

describe('times', () => {
  /** The outcome of an answer that has begun: all of it, or that it was cut. */
  async function endOf(context: TestContext, url: string): Promise<string> {
    const outgoing = request(url, { agent: false }).end();
    outgoing.on('error', () => undefined);
    context.after(() => outgoing.destroy());
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    return textOf(incoming).catch((error: NodeJS.ErrnoException) => `cut: ${error.code}`);
  }

  it('cuts an answer that takes longer than the whole may, however steadily it comes', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ total_timeout_ms: 150 }),
      users: (_incoming, response) => {
        const timer = setInterval(() => response.write('tick'), 10);
        response.on('close', () => clearInterval(timer));
      },
    });
    assert.equal(await endOf(context, `${gateway.url}/api/users/1`), 'cut: ECONNRESET');
    await until(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
  });

  it('cuts an answer that stops coming', async (context) => {
    const gateway = await startGateway(context, {
      upstreamTimeoutMs: 60_000,
      table: tableWith({ idle_timeout_ms: 100 }),
      users: (_incoming, response) => void response.write('some, '),
    });
    assert.equal(await endOf(context, `${gateway.url}/api/users/1`), 'cut: ECONNRESET');
  });

  it('gives up on a service that takes no more of a body', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ body_limit_bytes: 2 ** 31, idle_timeout_ms: 300 }),
      users: () => undefined,
    });
    const answer = await answerWhileSending(post(gateway.url, { 'content-length': String(2 ** 30) }));
    assert.deepEqual([answer.status, answer.code], [504, '/problems/upstream-timeout']);
    await until(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
  });

  it('tells a body that takes longer than the whole may from a service that does', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ total_timeout_ms: 150 }),
      users: (incoming) => void incoming.resume(),
    });
    const outgoing = post(gateway.url, { 'transfer-encoding': 'chunked' });
    const dripping = setInterval(() => outgoing.write('x'), 10);
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    clearInterval(dripping);
    outgoing.on('error', () => undefined);
    assert.equal(incoming.statusCode, 408);
    await textOf(incoming);
    outgoing.destroy();
    assert.equal(gateway.upstreams.users.breaker.history.failures, 0);
    assert.equal((await ask(`${gateway.url}/api/users/1`)).status, 504);
  });

  it('lets an upload take longer than the answer may, as long as it goes on', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ timeout_ms: 100, idle_timeout_ms: 1000 }),
      users: async (incoming, response) => sendJson(response, 200, (await textOf(incoming)).length),
    });
    const outgoing = post(gateway.url, { 'transfer-encoding': 'chunked' });
    const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
    for (let piece = 0; piece < 10; piece += 1) {
      outgoing.write('0123456789');
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    outgoing.end();
    const [incoming] = await answered;
    assert.deepEqual([incoming.statusCode, await textOf(incoming)], [200, '100']);
  });
});

describe('heads that Node would respond to by itself', () => {
  it('get a problem, a line of the log and a number', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, { logger });
    for (const [head, status, problem] of [
      ['GET /api/users/1 HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n', 417, 'expectation-failed'],
      ['GET /docs HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, tea\r\n\r\n', 417, 'expectation-failed'],
      ['GET /api/users/1 HTTP/1.1\r\n\r\n', 400, 'invalid-request'],
      ['GET http://a/api/users/1 HTTP/1.1\r\n\r\n', 400, 'invalid-request'],
      ['GET /nowhere HTTP/1.1\r\n\r\n', 400, 'invalid-request'],
    ] as const) {
      lines.length = 0;
      const answer = await exchange(gateway.port, head);
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*"/problems/${problem}"`), head);
      await until(() => lines.some((line) => line.msg === 'request' && line.status === status), 'the line');
    }
    assert.match((await gateway.metrics.render()).body, /http_response_status_code="417"/);
    assert.equal(gateway.users.requests.length, 0);
    assert.match(await exchange(gateway.port, 'GET /api/users/1 HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 /);
  });
});
