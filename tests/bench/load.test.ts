import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { createAnswerReader } from './answer-reader.ts';
import { bodies } from './bodies.ts';
import { type LoadPlan, runLoad } from './load.ts';
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

describe('the load generator', () => {
  for (const { title, path, bytes } of bodies) {
    it(`sends as many requests as the upstream receives and gets ${title} for each`, async (context) => {
      const upstream = await startStaticUpstream();
      context.after(() => upstream.close());
      const { port } = upstream;
      const result = await runLoad({ port, path, bytes, connections: 3, milliseconds: 50 });
      assert.deepEqual(result.errors, {});
      assert.ok(result.sent >= 3);
      assert.equal(result.answered, result.sent);
      assert.equal(upstream.received(), result.sent);
      assert.ok((result.p50Ms ?? 0) > 0 && (result.p50Ms ?? 0) <= (result.p99Ms ?? 0));
    });
  }

  it('waits for the answers that are on their way when its time is over', async (context) => {
    const result = await loadOn(
      context,
      (_request, response) => setTimeout(() => response.end('whole'), 60),
      {
        milliseconds: 1,
      },
    );
    assert.deepEqual([result.sent, result.answered, result.errors], [2, 2, {}]);
    assert.ok(result.milliseconds >= 55);
  });

  it('takes no answer for right that has another status or length', async (context) => {
    const unavailable = await loadOn(context, (_request, response) => response.writeHead(503).end('whole'));
    assert.deepEqual(unavailable.errors, { 'status 503 Service Unavailable': 2 });
    assert.equal(unavailable.answered, 0);
    const short = await loadOn(context, (_request, response) => response.end('half'));
    assert.deepEqual(short.errors, { 'Content-Length 4 instead of 5': 2 });
    const chunked = await loadOn(context, (_request, response) => {
      response.write('wh');
      response.end('ole');
    });
    assert.deepEqual(chunked.errors, { 'no Content-Length': 2 });
  });

  it('counts a connection that breaks before the answer is whole', async (context) => {
    const server = createTcpServer((socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwh'));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    context.after(() => server.close());
    const result = await runLoad({ ...plan, port: (server.address() as AddressInfo).port });
    assert.deepEqual([result.sent, result.answered], [2, 0]);
    assert.deepEqual(result.errors, { 'connection closed': 2 });
  });
});

describe('the reader of answers', () => {
  const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole';

  it('reads answers that come in any pieces', () => {
    for (let size = 1; size <= answer.length; size += 1) {
      const isWhole = createAnswerReader(5);
      const pieces = Array.from({ length: Math.ceil(answer.length / size) }, (_, index) =>
        isWhole(Buffer.from(answer.slice(index * size, (index + 1) * size))),
      );
      assert.deepEqual(pieces.indexOf(true), pieces.length - 1, `pieces of ${size} bytes`);
      assert.equal(isWhole(Buffer.from(answer)), true, 'the next answer on the connection');
    }
  });

  it('refuses more than it was promised', () => {
    assert.throws(() => createAnswerReader(5)(Buffer.from(`${answer}!`)), /more bytes/);
  });
});
