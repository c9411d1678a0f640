import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { bodies } from './bodies.ts';
import { type LoadPlan, runLoad } from './load.ts';
import { createResponseReader } from './response-reader.ts';
import { startStaticUpstream } from './static-upstream.ts';

const plan = { path: '/', bytes: 5, connections: 2, milliseconds: 20 };

async function loadOn(context: TestContext, listener: RequestListener, more: Partial<LoadPlan> = {}) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return runLoad({ ...plan, port: (server.address() as AddressInfo).port, ...more });
}

describe('runLoad', () => {
  for (const { title, path, bytes } of bodies) {
    it(`sends as many requests as the upstream receives and reads ${title} for each`, async (context) => {
      const upstream = await startStaticUpstream();
      context.after(() => upstream.close());
      const { port } = upstream;
      const result = await runLoad({ port, path, bytes, connections: 3, milliseconds: 50 });
      assert.deepEqual(result.errors, {});
      assert.ok(result.sent >= 3);
      assert.equal(result.responded, result.sent);
      assert.equal(upstream.received(), result.sent);
      assert.ok((result.p50Ms ?? 0) > 0 && (result.p50Ms ?? 0) <= (result.p99Ms ?? 0));
    });
  }

  it('sends requests with a body and numbers that grow, and start again after a count', async (context) => {
    const received: string[] = [];
    const result = await loadOn(
      context,
      async (request, response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk);
        received.push(`${request.method} ${request.url} ${request.headers.key} ${Buffer.concat(chunks)}`);
        response.statusCode = 201;
        response.end('whole');
      },
      {
        method: 'POST',
        path: '/items/####',
        headers: { key: '****' },
        content: '{"key":"****"}',
        counters: [
          { text: '####', from: 1000 },
          { text: '****', from: 5000, count: 2 },
        ],
        status: 201,
        bytes: undefined,
        connections: 1,
      },
    );
    assert.deepEqual(result.errors, {});
    assert.ok(received.length > 2);
    assert.deepEqual(
      received,
      received.map((_, n) => `POST /items/${1000 + n} ${5000 + (n % 2)} {"key":"${5000 + (n % 2)}"}`),
    );
  });

  it('waits for responses that are in flight when the time is over', async (context) => {
    const result = await loadOn(
      context,
      (_request, response) => setTimeout(() => response.end('whole'), 60),
      {
        milliseconds: 1,
      },
    );
    assert.deepEqual([result.sent, result.responded, result.errors], [2, 2, {}]);
    assert.ok(result.milliseconds >= 55);
  });

  it('counts responses with an unexpected status or length as errors', async (context) => {
    const unavailable = await loadOn(context, (_request, response) => response.writeHead(503).end('whole'));
    assert.deepEqual(unavailable.errors, { 'status 503 Service Unavailable': 2 });
    assert.equal(unavailable.responded, 0);
    const short = await loadOn(context, (_request, response) => response.end('half'));
    assert.deepEqual(short.errors, { 'Content-Length 4 instead of 5': 2 });
    const chunked = await loadOn(context, (_request, response) => {
      response.write('wh');
      response.end('ole');
    });
    assert.deepEqual(chunked.errors, { 'no Content-Length': 2 });
  });

  it('counts a connection that closes before the response is complete', async (context) => {
    const server = createTcpServer((socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwh'));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    context.after(() => server.close());
    const result = await runLoad({ ...plan, port: (server.address() as AddressInfo).port });
    assert.deepEqual([result.sent, result.responded], [2, 0]);
    assert.deepEqual(result.errors, { 'connection closed': 2 });
  });
});

describe('createResponseReader', () => {
  const response = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole';

  it('reads responses split into chunks of any size', () => {
    for (let size = 1; size <= response.length; size += 1) {
      const isComplete = createResponseReader(5);
      const pieces = Array.from({ length: Math.ceil(response.length / size) }, (_, index) =>
        isComplete(Buffer.from(response.slice(index * size, (index + 1) * size))),
      );
      assert.deepEqual(pieces.indexOf(true), pieces.length - 1, `pieces of ${size} bytes`);
      assert.equal(isComplete(Buffer.from(response)), true, 'the next response on the connection');
    }
  });

  it('throws if more bytes than Content-Length arrive', () => {
    assert.throws(() => createResponseReader(5)(Buffer.from(`${response}!`)), /more bytes/);
  });
});
