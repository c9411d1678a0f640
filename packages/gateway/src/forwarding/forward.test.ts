import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { sendRequest } from '@zerda/chassis/testing/http';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import { proxiesAt, startGateway, tableWith } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { parseTable } from '../routes/read-table.ts';

async function readAll(incoming: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of incoming) text += chunk;
  return text;
}

/** Sends raw bytes and collects everything received until the connection ends. */
function exchangeBytes(port: number, bytes: string): Promise<{ text: string; error: Error | undefined }> {
  return new Promise((resolve) => {
    let text = '';
    let error: Error | undefined;
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.setEncoding('latin1');
    socket.setTimeout(5000, () => socket.destroy(new Error('no response')));
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    socket.on('error', (thrown) => {
      error = thrown;
    });
    socket.on('close', () => resolve({ text, error }));
  });
}

describe('forwarding', () => {
  it('forwards method, path, query and body unchanged, and returns status, headers and body', async (context) => {
    const gateway = await startGateway(context);
    for (const [method, path] of [
      ['GET', '/api/users?limit=5&cursor=%20a+b'],
      ['POST', '/api/users'],
      ['PUT', '/api/users/%31'],
      ['DELETE', '/api/users/1?x=1&x=2'],
    ] as const) {
      const body = method === 'GET' ? '' : '{"name":"Ünï"}';
      let seen = {};
      gateway.users.listener = async (incoming, response) => {
        seen = { method: incoming.method, url: incoming.url, body: await readAll(incoming) };
        response.writeHead(418, { etag: '"7"', 'set-cookie': ['a=1', 'b=2'] }).end('short and stout');
      };
      const gatewayResponse = await sendRequest(gateway.url + path, {
        method,
        ...(body !== '' && { body, headers: { 'content-length': String(Buffer.byteLength(body)) } }),
      });
      assert.deepEqual(seen, { method, url: path, body });
      assert.equal(gatewayResponse.status, 418);
      assert.equal(gatewayResponse.headers.etag, '"7"');
      assert.deepEqual(gatewayResponse.headers['set-cookie'], ['a=1', 'b=2']);
      assert.equal(gatewayResponse.text, 'short and stout');
    }
  });

  it('forwards each path to its service', async (context) => {
    const gateway = await startGateway(context);
    await sendRequest(`${gateway.url}/api/users/1`);
    await sendRequest(`${gateway.url}/api/orders/1`);
    assert.deepEqual(
      gateway.users.requests.map(({ url }) => url),
      ['/api/users/1'],
    );
    assert.deepEqual(
      gateway.orders.requests.map(({ url }) => url),
      ['/api/orders/1'],
    );
  });

  it('accepts request targets in absolute form', async (context) => {
    const gateway = await startGateway(context);
    const { text } = await exchangeBytes(
      gateway.port,
      'GET http://me:secret@example.test/api/users/1?a=b HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n',
    );
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.equal(gateway.users.requests[0]?.url, '/api/users/1?a=b');
    assert.equal(gateway.users.requests[0]?.headers['x-forwarded-host'], 'example.test');
    const refused = await exchangeBytes(
      gateway.port,
      'GET http://me:secret@example.test/nothing HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n',
    );
    assert.match(refused.text, /^HTTP\/1\.1 404 [\s\S]*"instance":"\/nothing"/);
  });

  it('rejects ambiguous requests without calling a service', async (context) => {
    const gateway = await startGateway(context);
    const head = 'POST /api/users HTTP/1.1\r\nHost: a\r\nConnection: close\r\n';
    for (const rest of [
      'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
      'Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd',
      'Transfer-Encoding: chunked, gzip\r\n\r\nabc',
      'Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
      'X-Folded: one\r\n two\r\n\r\n',
      'X-Bare: line feed\nContent-Length: 3\r\n\r\nabc',
      'X-Spaced : colon\r\n\r\n',
    ]) {
      const { text } = await exchangeBytes(gateway.port, head + rest);
      assert.match(text, /^HTTP\/1\.1 400 /, rest);
    }
    assert.equal(gateway.users.requests.length, 0);
  });

  it('sends HTTP/1.0 clients no interim responses and no chunked coding', async (context) => {
    const gateway = await startGateway(context, {
      users: async (incoming, response) => {
        response.writeEarlyHints({ link: '</a.css>; rel=preload' });
        response.write('got ');
        response.end(await readAll(incoming));
      },
    });
    const { text } = await exchangeBytes(
      gateway.port,
      'POST /api/users HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nall',
    );
    assert.match(text, /^HTTP\/1\.1 200 [\s\S]*\r\n\r\ngot all$/);
    assert.doesNotMatch(text, /transfer-encoding/i);
  });

  it('keeps Content-Length', async (context) => {
    const gateway = await startGateway(context);
    await sendRequest(`${gateway.url}/api/users`, {
      method: 'POST',
      body: '{}',
      headers: { 'content-length': '2' },
    });
    await sendRequest(`${gateway.url}/api/users`, { method: 'POST', headers: { 'content-length': '0' } });
    assert.deepEqual(
      gateway.users.requests.map(({ headers }) => [headers['content-length'], headers['transfer-encoding']]),
      [
        ['2', undefined],
        ['0', undefined],
      ],
    );
  });

  it('forwards ranges, content codings and validators unchanged', async (context) => {
    const packed = gzipSync('the whole of it');
    const gateway = await startGateway(context, {
      users: (_incoming, response) => {
        response.writeHead(206, {
          'content-type': 'text/plain',
          'content-encoding': 'gzip',
          'content-range': 'bytes 0-9/100',
          'content-length': packed.length,
          etag: 'W/"7"',
          'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT',
          vary: 'Accept-Encoding',
        });
        response.end(packed);
      },
    });
    const conditionalHeaders = {
      range: 'bytes=0-9',
      'if-range': '"6"',
      'accept-encoding': 'gzip, br;q=0.5',
      'if-none-match': 'W/"6"',
      'if-modified-since': 'Wed, 31 Dec 2025 00:00:00 GMT',
    };
    const outgoing = request(`${gateway.url}/api/users/1`, {
      agent: false,
      headers: conditionalHeaders,
    }).end();
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    assert.deepEqual(Buffer.concat(chunks), packed);
    assert.equal(incoming.statusCode, 206);
    const { headers } = gateway.users.requests[0] ?? {};
    for (const [name, value] of Object.entries(conditionalHeaders))
      assert.equal(headers?.[name], value, name);
    for (const [name, value] of [
      ['content-encoding', 'gzip'],
      ['content-range', 'bytes 0-9/100'],
      ['etag', 'W/"7"'],
      ['last-modified', 'Thu, 01 Jan 2026 00:00:00 GMT'],
      ['vary', 'Accept-Encoding'],
    ] as const) {
      assert.equal(incoming.headers[name], value, name);
    }
  });

  it('does not forward hop-by-hop headers in either direction', async (context) => {
    const gateway = await startGateway(context, {
      users: (_incoming, response) => {
        response.writeHead(200, {
          connection: 'x-private, close',
          'x-private': 'service',
          'x-public': 'service',
          'keep-alive': 'timeout=1',
          'proxy-authenticate': 'Basic',
          trailer: 'x-sum',
          upgrade: 'h2c',
        });
        response.end('{}');
      },
    });
    const gatewayResponse = await sendRequest(`${gateway.url}/api/users/1`, {
      headers: {
        connection: 'close, X-Private',
        'x-private': 'client',
        'x-public': 'client',
        te: 'trailers',
        'proxy-authorization': 'Basic abc',
        'proxy-connection': 'keep-alive',
        expect: '100-continue',
      },
    });
    const sent = gateway.users.requests[0]?.headers ?? {};
    assert.equal(sent['x-public'], 'client');
    for (const name of ['x-private', 'te', 'proxy-authorization', 'proxy-connection', 'expect']) {
      assert.equal(sent[name], undefined, name);
    }
    assert.equal(sent.connection, 'keep-alive');
    assert.equal(gatewayResponse.headers['x-public'], 'service');
    for (const name of ['x-private', 'proxy-authenticate', 'trailer', 'upgrade']) {
      assert.equal(gatewayResponse.headers[name], undefined, name);
    }
    assert.notEqual(gatewayResponse.headers['keep-alive'], 'timeout=1');
  });

  it('sets forwarded headers and ignores those of the client', async (context) => {
    const gateway = await startGateway(context);
    await sendRequest(`${gateway.url}/api/users/1`, {
      headers: {
        host: 'shop.test',
        'x-forwarded-for': '10.1.2.3',
        'x-forwarded-host': 'evil.test',
        'x-forwarded-proto': 'gopher',
        forwarded: 'for=evil',
        via: '1.0 cache',
      },
    });
    const sent = gateway.users.requests[0]?.headers ?? {};
    assert.equal(sent['x-forwarded-for'], '127.0.0.1');
    assert.equal(sent['x-forwarded-host'], 'shop.test');
    assert.equal(sent['x-forwarded-proto'], 'http');
    assert.equal(sent.forwarded, 'for=127.0.0.1;host=shop.test;proto=http');
    assert.equal(sent.via, '1.0 cache, 1.1 zerda');
    assert.equal(sent.host, `127.0.0.1:${gateway.users.port}`);
  });

  it('sends the correlation id and the remaining time to the service', async (context) => {
    const gateway = await startGateway(context, { upstreamTimeoutMs: 2000 });
    const gatewayResponse = await sendRequest(`${gateway.url}/api/users/1`, {
      headers: { 'x-correlation-id': 'abc-1' },
    });
    await sendRequest(`${gateway.url}/api/users/1`, { headers: { 'x-request-timeout-ms': '500' } });
    await sendRequest(`${gateway.url}/api/users/1`, { headers: { 'x-request-timeout-ms': '600000' } });
    const [first, second, third] = gateway.users.requests.map(({ headers }) => headers);
    assert.equal(gatewayResponse.headers['x-correlation-id'], 'abc-1');
    assert.equal(first?.['x-correlation-id'], 'abc-1');
    assert.ok(second?.['x-correlation-id'], 'generated when the client sends none');
    const [ownMs, callersMs, longMs] = [first, second, third].map((headers) =>
      Number(headers?.['x-request-timeout-ms']),
    );
    assert.ok(ownMs !== undefined && ownMs > 1000 && ownMs <= 2000, String(ownMs));
    assert.ok(callersMs !== undefined && callersMs > 100 && callersMs <= 500, String(callersMs));
    assert.ok(longMs !== undefined && longMs <= 2000, String(longMs));
  });

  it('sets the correlation id of each request on its response, on one upstream connection', async (context) => {
    const gateway = await startGateway(context);
    for (const id of ['first', 'second', 'third']) {
      const gatewayResponse = await sendRequest(`${gateway.url}/api/users/1`, {
        headers: { 'x-correlation-id': id },
      });
      assert.equal(gatewayResponse.headers['x-correlation-id'], id);
    }
    assert.equal(new Set(gateway.users.requests.map(({ socket }) => socket)).size, 1);
  });

  it("replaces the service's correlation id and X-Content-Type-Options, and keeps its other headers", async (context) => {
    const gateway = await startGateway(context, {
      users: (_incoming, response) =>
        sendJson(
          response,
          200,
          {},
          {
            'X-FRAME-OPTIONS': 'DENY',
            'referrer-policy': 'same-origin',
            'strict-transport-security': 'max-age=1',
            'x-correlation-id': 'other',
            'content-security-policy': "default-src 'none'",
            connection: 'keep-alive, x-content-type-options',
          },
        ),
    });
    const gatewayResponse = await sendRequest(`${gateway.url}/api/users/1`, {
      headers: { 'x-correlation-id': 'mine' },
    });
    const names = gatewayResponse.rawHeaders
      .filter((_value, index) => index % 2 === 0)
      .map((name) => name.toLowerCase());
    assert.equal(new Set(names).size, names.length, names.join(' '));
    assert.equal(gatewayResponse.headers['x-frame-options'], 'DENY');
    assert.equal(gatewayResponse.headers['referrer-policy'], 'same-origin');
    assert.equal(gatewayResponse.headers['strict-transport-security'], 'max-age=1');
    assert.equal(gatewayResponse.headers['x-correlation-id'], 'mine');
    assert.equal(gatewayResponse.headers['x-content-type-options'], 'nosniff');
    assert.equal(gatewayResponse.headers['content-security-policy'], "default-src 'none'");
  });

  it('adds missing security headers, and HSTS only over HTTPS (RFC 6797, section 7.2)', async (context) => {
    const gateway = await startGateway(context, { door: { trustedProxies: proxiesAt('127.0.0.1') } });
    const cached = await startGateway(context, {
      door: { trustedProxies: proxiesAt('127.0.0.1') },
      table: parseTable(
        "{ upstreams: { user-service: { health: /h } }, routes: [{ path: '/api/users/{id}', methods: [GET], upstream: user-service, cache: { ttl_ms: 60000 } }] }",
        'table',
      ),
    });
    const untrusting = await startGateway(context);
    const https = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-proto': 'https' };
    for (const path of ['/api/users/1', '/api/health', '/nowhere', '/docs']) {
      for (const [url, headers, hsts] of [
        [gateway.url, https, 'max-age=31536000; includeSubDomains'],
        [gateway.url, {}, undefined],
        [gateway.url, { ...https, 'x-forwarded-proto': 'http' }, undefined],
        [untrusting.url, https, undefined],
        [cached.url, https, 'max-age=31536000; includeSubDomains'],
        [cached.url, {}, undefined],
      ] as const) {
        const gatewayResponse = await sendRequest(url + path, { headers });
        assert.equal(gatewayResponse.headers['strict-transport-security'], hsts, path);
        assert.equal(gatewayResponse.headers['x-frame-options'], 'SAMEORIGIN');
        assert.equal(gatewayResponse.headers['referrer-policy'], 'no-referrer');
      }
    }
    const refused = await sendRequest(`${gateway.url}/api/users/1`, { method: 'PATCH', headers: https });
    assert.deepEqual(
      [refused.status, refused.headers['strict-transport-security']?.slice(0, 8)],
      [405, 'max-age='],
    );
  });

  it('returns non-ASCII header bytes unchanged', async (context) => {
    const gateway = await startGateway(context, {
      users: (_incoming, response) => response.writeHead(200, { 'x-name': 'caf\u00e9' }).end('{}'),
    });
    const { text } = await exchangeBytes(
      gateway.port,
      'GET /api/users/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    );
    assert.match(text, /x-name: caf\u00e9\r\n/);
  });

  it('responds without a body to HEAD and with 204 and 304', async (context) => {
    const gateway = await startGateway(context);
    gateway.users.listener = (_incoming, response) =>
      response.writeHead(200, { 'content-length': '17' }).end();
    const head = await sendRequest(`${gateway.url}/api/users/1`, { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers['content-length'], head.text], [200, '17', '']);
    for (const status of [204, 304]) {
      gateway.users.listener = (_incoming, response) => response.writeHead(status, { etag: '"1"' }).end();
      const gatewayResponse = await sendRequest(`${gateway.url}/api/users/1`);
      assert.deepEqual(
        [gatewayResponse.status, gatewayResponse.headers.etag, gatewayResponse.text],
        [status, '"1"', ''],
      );
    }
  });

  it('treats a 304 with Content-Length as complete', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, { logger });
    gateway.users.listener = (_incoming, response) =>
      response.writeHead(304, { etag: '"1"', 'content-length': '17' }).end();
    const requestHead = 'GET /api/users/1 HTTP/1.1\r\nHost: a\r\n';
    const { text, error } = await exchangeBytes(
      gateway.port,
      `${requestHead}\r\n${requestHead}Connection: close\r\n\r\n`,
    );
    assert.equal(error, undefined);
    assert.equal(text.match(/HTTP\/1\.1 304 /g)?.length, 2);
    assert.deepEqual(
      lines.filter(({ msg, level }) => msg !== 'request' && level !== 'debug'),
      [],
    );
  });

  it('forwards interim responses before the final one', async (context) => {
    const gateway = await startGateway(context, {
      users: (_incoming, response) => {
        response.writeProcessing();
        response.writeEarlyHints({ link: ['</a.css>; rel=preload', '</b.css>; rel=preload'], 'x-hint': '1' });
        sendJson(response, 200, { final: true });
      },
    });
    const outgoing = request(`${gateway.url}/api/users/1`, { agent: false }).end();
    const interim: [number, unknown, unknown][] = [];
    outgoing.on('information', ({ statusCode, headers }) =>
      interim.push([statusCode, headers.link, headers['x-hint']]),
    );
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    assert.equal(await readAll(incoming), '{"final":true}');
    assert.equal(incoming.headers.link, undefined);
    assert.deepEqual(interim, [
      [102, undefined, undefined],
      [103, '</a.css>; rel=preload, </b.css>; rel=preload', '1'],
    ]);
  });

  it('forwards the head and each chunk of a response immediately', async (context) => {
    let next: (piece: string | undefined) => void = () => undefined;
    const gateway = await startGateway(context, {
      users: (_incoming, response) => {
        response.flushHeaders();
        next = (piece) => (piece === undefined ? response.end() : response.write(piece));
      },
    });
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${gateway.url}/api/users/1`, { agent: false }, resolve).on('error', reject).end();
    });
    let text = '';
    incoming.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    next('first ');
    await eventually(() => text === 'first ', 'the first chunk');
    next('second');
    await eventually(() => text === 'first second', 'the second chunk');
    next(undefined);
    await eventually(() => incoming.complete, 'the end');
  });

  it('forwards each chunk of a large request immediately, and the response meanwhile', async (context) => {
    let received = '';
    const gateway = await startGateway(context, {
      users: (incoming, response) => {
        incoming.setEncoding('utf8').on('data', (chunk) => {
          received += chunk;
          response.write(`got ${chunk.length};`);
        });
        incoming.on('end', () => response.end('end'));
      },
    });
    const outgoing = request(`${gateway.url}/api/users`, { method: 'POST', agent: false });
    let responseText = '';
    outgoing.on('response', (incoming) => {
      incoming.setEncoding('utf8').on('data', (chunk) => {
        responseText += chunk;
      });
    });
    outgoing.write('1'.repeat(64 * 1024));
    outgoing.write('2');
    await eventually(() => received.length === 64 * 1024 + 1, 'the first chunk at the service');
    assert.equal(gateway.users.requests[0]?.headers['transfer-encoding'], 'chunked');
    await eventually(() => /;$/.test(responseText), 'the response to the first chunk');
    outgoing.write('345');
    await eventually(() => responseText.endsWith('got 3;'), 'the response to the second chunk');
    outgoing.end();
    await eventually(() => responseText.endsWith('end'), 'the end');
  });

  it('reads from the service only as fast as the client reads', async (context) => {
    const megabytes = 64;
    let written = 0;
    const gateway = await startGateway(context, {
      users: (_incoming, response) => {
        const piece = Buffer.alloc(1024 * 1024);
        const more = (): void => {
          while (written < megabytes) {
            written += 1;
            if (!response.write(piece)) {
              response.once('drain', more);
              return;
            }
          }
          response.end();
        };
        more();
      },
    });
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${gateway.url}/api/users/1`, { agent: false }, resolve).on('error', reject).end();
    });
    let seen = 0;
    let seenAt = performance.now();
    await eventually(() => {
      if (written !== seen) [seen, seenAt] = [written, performance.now()];
      return written > 0 && performance.now() - seenAt > 150;
    }, 'the service to be held back');
    assert.ok(written < megabytes, `${written} MB were taken although the client reads nothing`);
    let size = 0;
    for await (const chunk of incoming) size += chunk.length;
    assert.equal(size, megabytes * 1024 * 1024);
  });

  it('sends 100 Continue to a client that expects it', async (context) => {
    const gateway = await startGateway(context, {
      users: async (incoming, response) => sendJson(response, 201, { got: await readAll(incoming) }),
    });
    const outgoing = request(`${gateway.url}/api/users`, {
      method: 'POST',
      agent: false,
      headers: { expect: '100-continue', 'content-length': '4' },
    });
    outgoing.flushHeaders();
    await new Promise((resolve) => outgoing.once('continue', resolve));
    const responseText = new Promise<IncomingMessage>((resolve) => outgoing.once('response', resolve));
    outgoing.end('body');
    assert.equal(await readAll(await responseText), '{"got":"body"}');
  });

  it('cancels the call when the client disconnects, before and during the response', async (context) => {
    const gateway = await startGateway(context);
    let fastest = Number.POSITIVE_INFINITY;
    for (const startsResponse of [false, true]) {
      let closed = false;
      let arrived = false;
      gateway.users.listener = (_incoming, response) => {
        arrived = true;
        response.on('close', () => {
          closed = true;
        });
        if (startsResponse) response.write('half');
      };
      const outgoing = request(`${gateway.url}/api/users/1`, { agent: false });
      outgoing.on('error', () => undefined);
      let began = false;
      outgoing.on('response', (incoming) => {
        began = true;
        incoming.on('error', () => undefined);
      });
      outgoing.end();
      await eventually(() => (startsResponse ? began : arrived), 'the call');
      const goneAt = performance.now();
      outgoing.destroy();
      await eventually(() => closed, 'the end of the call to the service');
      fastest = Math.min(fastest, performance.now() - goneAt);
    }
    // The faster of both: the other may have waited for the CPU.
    assert.ok(fastest < 100, `${fastest} ms`);
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('resets the connection when a response is interrupted, with any framing', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, { logger });
    for (const headers of [{ 'content-length': '100' }, { 'transfer-encoding': 'chunked' }]) {
      gateway.users.listener = (_incoming, response) => {
        response.writeHead(200, headers).write('half');
        setImmediate(() => response.destroy());
      };
      await assert.rejects(sendRequest(`${gateway.url}/api/users/1`), { code: 'ECONNRESET' });
      const http10Result = await exchangeBytes(gateway.port, 'GET /api/users/1 HTTP/1.0\r\n\r\n');
      assert.equal((http10Result.error as NodeJS.ErrnoException | undefined)?.code, 'ECONNRESET');
    }
    assert.equal(lines.filter(({ msg }) => msg === 'response interrupted').length, 4);
    assert.equal(gateway.upstreams.users.inFlight, 0);
    assert.ok(
      lines.every(
        ({ msg, correlation_id }) => msg !== 'response interrupted' || correlation_id !== undefined,
      ),
    );
  });

  it('counts an interrupted response as a failure of the service, and as 499 only if the client disconnected', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, {
      logger,
      table: tableWith({ idle_timeout_ms: 60, total_timeout_ms: 2000 }),
    });
    const loggedStatus = async (): Promise<unknown> => {
      await eventually(() => lines.some(({ msg }) => msg === 'request'), 'the log line');
      return lines.splice(0).find(({ msg }) => msg === 'request')?.status;
    };
    gateway.users.listener = (_incoming, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
      setImmediate(() => response.destroy());
    };
    await assert.rejects(sendRequest(`${gateway.url}/api/users/1`), { code: 'ECONNRESET' });
    assert.equal(await loggedStatus(), 502, 'cut');

    gateway.users.listener = (_incoming, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n');
    };
    await assert.rejects(sendRequest(`${gateway.url}/api/users/1`), { code: 'ECONNRESET' });
    assert.equal(await loggedStatus(), 504, 'idle');

    gateway.users.listener = (_incoming, response) => {
      const more = setInterval(() => response.write('data: 1\n\n'), 20);
      response.on('close', () => clearInterval(more));
    };
    await assert.rejects(sendRequest(`${gateway.url}/api/users/1`), { code: 'ECONNRESET' });
    assert.equal(await loggedStatus(), 504, 'longer than the total time');

    const socket = connect(gateway.port, '127.0.0.1');
    socket.write('GET /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    assert.equal(await loggedStatus(), 499, 'left');

    const { body } = await gateway.metrics.render();
    for (const [status, count] of [
      [502, 1],
      [504, 2],
      [499, 1],
    ])
      assert.match(body, new RegExp(`_count.*http_response_status_code="${status}".* ${count}$`, 'm'));
  });

  it('removes the length of a 204, which has no body (RFC 9110, section 8.6)', async (context) => {
    const gateway = await startGateway(context);
    for (const [status, length, expected] of [
      [204, '0', undefined],
      [204, '5', undefined],
      [200, '0', '0'],
      [304, '11', '11'],
    ] as const) {
      gateway.users.listener = (incoming) =>
        void incoming.socket.write(`HTTP/1.1 ${status} X\r\nContent-Length: ${length}\r\nX-Own: 1\r\n\r\n`);
      const gatewayResponse = await sendRequest(`${gateway.url}/api/users/1`);
      assert.deepEqual(
        [gatewayResponse.status, gatewayResponse.headers['content-length'], gatewayResponse.headers['x-own']],
        [status, expected, '1'],
      );
    }
  });

  it('responds after any interim response, which opens no circuit (RFC 9110, section 15.2)', async (context) => {
    const gateway = await startGateway(context);
    gateway.users.listener = ({ socket }) =>
      void socket.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}');
    for (let call = 0; call < 6; call += 1) {
      const { text } = await exchangeBytes(
        gateway.port,
        'GET /api/users/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      );
      assert.match(text, /^HTTP\/1\.1 200 /);
    }
    assert.equal(gateway.upstreams.users.breaker.state, 'closed');
  });

  it('rejects ambiguous responses and ignores bytes after a response', async (context) => {
    let bytes = '';
    const service = createTcpServer((socket) => {
      socket.on('error', () => undefined).on('data', () => socket.write(bytes, 'latin1'));
    });
    await once(service.listen(0, '127.0.0.1'), 'listening');
    context.after(() => service.close());
    const table = parseTable(
      '{ upstreams: { raw: {} }, routes: [{ path: /x, methods: [GET], upstream: raw }] }',
      'table',
    );
    const { port } = service.address() as AddressInfo;
    const gateway = await startGateway(context, {
      table,
      others: { raw: `http://127.0.0.1:${port}` },
      circuit: { volume: 1000 },
    });
    const whole = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n';
    for (const [gatewayResponse, status] of [
      ['HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nevil!', 502],
      ['HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 502],
      ['HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n', 502],
      ['HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nabc', 502],
      ['HTTP/1.1 200 OK\r\nX-Folded: one\r\n two\r\nContent-Length: 0\r\n\r\n', 502],
      ['HTTP/1.1 200 OK\nContent-Length: 0\n\n', 502],
      ['HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n', 502],
      ['HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil', 204],
      [`HTTP/1.1 204 No Content\r\n\r\n${whole}evil`, 204],
      [`${whole}good${whole}evil`, 200],
    ] as const) {
      bytes = gatewayResponse;
      assert.equal((await sendRequest(`${gateway.url}/x`)).status, status, gatewayResponse);
      bytes = `${whole}next`;
      assert.equal((await sendRequest(`${gateway.url}/x`)).text, 'next', gatewayResponse);
    }
  });

  it('returns an early response completely, and stops sending the body to the service', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ body_limit_bytes: 2 ** 31 }),
      users: (_incoming, response) =>
        sendJson(response, 413, { title: 'too large' }, { 'x-problem': 'payload-too-large' }),
    });
    const chunk = Buffer.alloc(64 * 1024);
    for (const headers of [
      { 'content-length': String(1024 * 1024 * 1024) },
      { 'transfer-encoding': 'chunked' },
    ]) {
      const gatewayResponse = await new Promise((resolve, reject) => {
        const outgoing = request(`${gateway.url}/api/users`, { method: 'POST', agent: false, headers });
        let sending = true;
        outgoing.on('error', reject);
        outgoing.on('response', async (incoming) => {
          sending = false;
          const text = await readAll(incoming).catch(reject);
          outgoing.off('error', reject).on('error', () => undefined);
          resolve({ status: incoming.statusCode, connection: incoming.headers.connection, text });
        });
        const send = (): void => {
          if (!sending) return;
          if (outgoing.write(chunk)) setImmediate(send);
          else outgoing.once('drain', send);
        };
        send();
      });
      assert.deepEqual(gatewayResponse, { status: 413, connection: 'close', text: '{"title":"too large"}' });
      await eventually(
        () => gateway.users.requests.at(-1)?.socket.destroyed === true,
        'the end of the upload',
      );
    }
    assert.equal((await sendRequest(`${gateway.url}/api/users`)).status, 413, 'the gateway still responds');
  });

  it('returns an early response completely to a client that sends everything before it reads', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ body_limit_bytes: 2 ** 31 }),
      users: (_incoming, response) => sendJson(response, 413, { title: 'too large' }),
    });
    const size = 8 * 1024 * 1024;
    const head = `POST /api/users HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`;
    const socket = connect(gateway.port, '127.0.0.1');
    context.after(() => socket.destroy());
    await new Promise<void>((sent, failed) => {
      socket.on('error', failed);
      socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(size)]), () => sent());
    });
    let text = '';
    for await (const chunk of socket) text += chunk;
    assert.match(
      text,
      /^HTTP\/1\.1 413 [\s\S]*\r\nConnection: close\r\n[\s\S]*\{"title":"too large"\}\r\n0\r\n\r\n$/,
    );
  });

  it('serves the next request on a connection after an early error response', async (context) => {
    const gateway = await startGateway(context);
    await gateway.users.stop();
    const size = 1024 * 1024;
    const first = `POST /api/users HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`;
    const second = 'GET /api/orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    const { text } = await exchangeBytes(gateway.port, first + second);
    assert.match(text, /^HTTP\/1\.1 502 [\s\S]*HTTP\/1\.1 200 /);
  });

  it('returns an early response completely when bodies are sent faster than connections close', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ idle_timeout_ms: 100 }),
      users: (_incoming, response) => sendJson(response, 200, { early: true }),
    });
    const { text, error } = await exchangeBytes(
      gateway.port,
      `POST /api/users HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(80_000)}`,
    );
    assert.equal(error, undefined);
    assert.match(text, /\r\nConnection: close\r\n[\s\S]*\{"early":true\}\r\n0\r\n\r\n$/);
  });

  it('resets the connection of a client that stops reading, and cancels the call', async (context) => {
    const gateway = await startGateway(context, {
      table: tableWith({ idle_timeout_ms: 100 }),
      users: (_incoming, response) => {
        response.writeHead(200).write(Buffer.alloc(32 * 1024 * 1024));
      },
    });
    const socket = connect(gateway.port, '127.0.0.1');
    socket.on('error', () => undefined).pause();
    socket.write('GET /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n');
    await eventually(() => gateway.users.requests[0]?.socket.destroyed === true, 'the end of the call');
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
    socket.destroy();
  });

  it('cancels every call of a client that disconnects with pipelined requests in flight', async (context) => {
    const { logger, lines } = recordingLogger();
    const gateway = await startGateway(context, {
      logger,
      users: () => undefined,
      upstreamTimeoutMs: 60_000,
    });
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const timersBefore = timers();
    const socket = connect(gateway.port, '127.0.0.1');
    socket.write('GET /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(12));
    await eventually(() => gateway.users.requests.length === 12, 'the calls');
    socket.destroy();
    await eventually(
      () => gateway.users.requests.every((request) => request.socket.destroyed),
      'the end of the calls',
    );
    await eventually(() => gateway.upstreams.users.inFlight === 0, 'the end of the call');
    await eventually(() => lines.filter(({ status }) => status === 499).length === 12, 'a log line for each');
    assert.ok(timers() <= timersBefore, `${timers()} timers`);
    assert.match((await gateway.metrics.render()).body, /http_server_active_requests 0/);
  });

  it('resets the connection when a pipelined response is interrupted while it waits', async (context) => {
    const gateway = await startGateway(context);
    let first: (() => void) | undefined;
    let broken = false;
    gateway.users.listener = (incoming, response) => {
      if (incoming.url === '/api/users/1') first = () => sendJson(response, 200, { first: true });
      else {
        response.writeHead(200, { 'content-length': '100' }).write('half');
        setImmediate(() => response.destroy());
        incoming.socket.once('close', () => {
          broken = true;
        });
      }
    };
    const both = exchangeBytes(
      gateway.port,
      'GET /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /api/users/2 HTTP/1.1\r\nHost: a\r\n\r\n',
    );
    await eventually(() => first !== undefined && broken, 'the end of the second');
    await eventually(() => gateway.upstreams.users.inFlight === 1, 'the gateway to notice');
    first?.();
    const { text } = await both;
    assert.match(text, /\{"first":true\}/);
    assert.doesNotMatch(text, /half/);
  });

  it("reuses the client's connection for its next request", async (context) => {
    const gateway = await startGateway(context, {
      users: async (incoming, response) => sendJson(response, 200, { got: await readAll(incoming) }),
    });
    const two = 'POST /api/users HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none';
    const last = 'POST /api/users HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntwo';
    const { text } = await exchangeBytes(gateway.port, two + last);
    assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, 2);
    assert.match(text, /\{"got":"one"\}[\s\S]*\{"got":"two"\}/);
  });
});
