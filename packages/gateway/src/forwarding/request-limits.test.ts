import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { sendRequest } from '@zerda/chassis/testing/http';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import { startGateway, tableWith } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';

async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of incoming) text += chunk;
  return text;
}

/** Returns the response to a request that keeps sending, and ignores later connection errors. */
async function respondWhileSending(
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

/** Sends raw bytes. Resolves with everything received until the connection ends. */
async function exchange(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
  socket.setTimeout(5000, () => socket.destroy(new Error('no end')));
  let text = '';
  for await (const chunk of socket.setEncoding('latin1')) text += chunk;
  return text;
}

describe('body limit', () => {
  const table = tableWith({ body_limit_bytes: 100 });

  it('rejects a Content-Length above the limit without calling the service, and closes the connection', async (context) => {
    const gateway = await startGateway(context, { table });
    const received = await respondWhileSending(post(gateway.url, { 'content-length': String(2 ** 30) }));
    assert.deepEqual(received, { status: 413, connection: 'close', code: '/problems/payload-too-large' });
    assert.equal(gateway.users.requests.length, 0);
  });

  it('rejects a chunked body when it exceeds the limit, cancels the call, and closes the connection', async (context) => {
    const gateway = await startGateway(context, { table, users: (incoming) => void incoming.resume() });
    const received = await respondWhileSending(post(gateway.url, { 'transfer-encoding': 'chunked' }));
    assert.deepEqual(received, { status: 413, connection: 'close', code: '/problems/payload-too-large' });
    await eventually(
      () => gateway.users.requests.every(({ socket }) => socket.destroyed),
      'the end of the call',
    );
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
    assert.equal(gateway.upstreams.users.inFlight, 0);
  });

  it('accepts a body of exactly the limit', async (context) => {
    const gateway = await startGateway(context, {
      table,
      users: async (incoming, response) => sendJson(response, 200, (await textOf(incoming)).length),
    });
    for (const headers of [{ 'content-length': '100' }, { 'transfer-encoding': 'chunked' }]) {
      const received = await sendRequest(`${gateway.url}/api/users`, {
        method: 'POST',
        headers,
        body: 'x'.repeat(100),
      });
      assert.deepEqual([received.status, received.text], [200, '100']);
    }
  });
});

describe('Expect: 100-continue', () => {
  it('gets no 100 response when the request is rejected', async (context) => {
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
  it('to WebSocket returns 501 and is never forwarded', async (context) => {
    const gateway = await startGateway(context);
    const head = 'GET /api/users/1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\n';
    const received = await exchange(
      gateway.port,
      `${head}Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    assert.match(received, /^HTTP\/1\.1 501 [\s\S]*\/problems\/upgrade-unsupported/);
    assert.equal(gateway.users.requests.length, 0);
  });

  it('to other protocols is ignored (RFC 9110, section 7.8)', async (context) => {
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
      const received = await exchange(gateway.port, `${head}Upgrade: ${upgrade}\r\n\r\n`);
      assert.match(received, /^HTTP\/1\.1 200 /, `${upgrade} ${version}`);
      assert.equal(gateway.users.requests.at(-1)?.headers.upgrade, undefined);
    }
    const post = `POST /api/users HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: TLS/1.2\r\n`;
    const headers = 'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}';
    assert.match(await exchange(gateway.port, post + headers), /^HTTP\/1\.1 200 /);
  });

  it('to HTTP/2 is ignored, as sent by curl', async (context) => {
    const gateway = await startGateway(context);
    const head = 'GET /api/users/1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n';
    assert.match(
      await exchange(gateway.port, `${head}Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`),
      /^HTTP\/1\.1 200 /,
    );
    assert.equal(gateway.users.requests[0]?.headers.upgrade, undefined);
    assert.equal(gateway.users.requests[0]?.headers['http2-settings'], undefined);
  });

  it('never creates a tunnel', async (context) => {
    const gateway = await startGateway(context);
    const received = await exchange(gateway.port, 'CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.doesNotMatch(received, /^HTTP\/1\.1 2/);
  });
});

describe('interim responses', () => {
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
    await eventually(() => gateway.upstreams.users.breaker.history.successes === 1, 'the final response');
    let text = '';
    for await (const chunk of socket.setEncoding('latin1')) text += chunk;
    assert.match(text, /\{"final":true\}/);
    const passed = text.split('HTTP/1.1 103 ').length - 1;
    assert.ok(passed > 0 && passed < hints / 2, `${passed} of ${hints} hints`);
  });
});

describe('timeouts', () => {
  /** Returns the whole response text, or that the connection was reset. */
  async function endOf(context: TestContext, url: string): Promise<string> {
    const outgoing = request(url, { agent: false }).end();
    outgoing.on('error', () => undefined);
    context.after(() => outgoing.destroy());
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    return textOf(incoming).catch((error: NodeJS.ErrnoException) => `cut: ${error.code}`);
  }

  it('resets a response that exceeds the total timeout, even if it is steady', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ total_timeout_ms: 150 }),
      users: (_incoming, response) => {
        const timer = setInterval(() => response.write('tick'), 10);
        response.on('close', () => clearInterval(timer));
      },
    });
    assert.equal(await endOf(context, `${gateway.url}/api/users/1`), 'cut: ECONNRESET');
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
  });

  it('resets a response that exceeds the idle timeout', async (context) => {
    const gateway = await startGateway(context, {
      upstreamTimeoutMs: 60_000,
      table: tableWith({ idle_timeout_ms: 100 }),
      users: (_incoming, response) => void response.write('some, '),
    });
    assert.equal(await endOf(context, `${gateway.url}/api/users/1`), 'cut: ECONNRESET');
  });

  it('returns 504 when a service stops reading the body', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ body_limit_bytes: 2 ** 31, idle_timeout_ms: 300 }),
      users: () => undefined,
    });
    const received = await respondWhileSending(post(gateway.url, { 'content-length': String(2 ** 30) }));
    assert.deepEqual([received.status, received.code], [504, '/problems/upstream-timeout']);
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
  });

  it('returns 408 when the body exceeds the total timeout, and 504 when the service does', async (context) => {
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
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`)).status, 504);
  });

  it('allows a steady upload to take longer than the response timeout', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ timeout_ms: 400, idle_timeout_ms: 2000 }),
      users: async (incoming, response) => sendJson(response, 200, (await textOf(incoming)).length),
    });
    const outgoing = post(gateway.url, { 'transfer-encoding': 'chunked' });
    const responsePromise = once(outgoing, 'response') as Promise<[IncomingMessage]>;
    for (let piece = 0; piece < 10; piece += 1) {
      outgoing.write('0123456789');
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    outgoing.end();
    const [incoming] = await responsePromise;
    assert.deepEqual([incoming.statusCode, await textOf(incoming)], [200, '100']);
  });
});

describe('request heads that Node would reject itself', () => {
  it('get a problem response, a log line and a metric', async (context) => {
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
      const received = await exchange(gateway.port, head);
      assert.match(received, new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*"/problems/${problem}"`), head);
      await eventually(
        () => lines.some((line) => line.msg === 'request' && line.status === status),
        'the line',
      );
    }
    assert.match((await gateway.metrics.render()).body, /http_response_status_code="417"/);
    assert.equal(gateway.users.requests.length, 0);
    assert.match(await exchange(gateway.port, 'GET /api/users/1 HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 /);
  });
});
