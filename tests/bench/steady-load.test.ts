import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { runSteadyLoad } from './steady-load.ts';

async function loadOn(context: TestContext, listener: RequestListener, ignoredMilliseconds?: number) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return runSteadyLoad({
    port,
    path: '/',
    perSecond: 200,
    milliseconds: 100,
    ...(ignoredMilliseconds !== undefined && { ignoredMilliseconds }),
  });
}

describe('runSteadyLoad', () => {
  it('keeps sending without responses and waits for late responses', async (context) => {
    const pending: ServerResponse[] = [];
    const { sent, responses, errors } = await loadOn(context, (_request, response) => {
      pending.push(response);
      if (pending.length === 20) for (const held of pending) held.end();
    });
    assert.deepEqual([sent, responses.length, errors], [20, 20, {}]);
    assert.ok((responses[0]?.ms ?? 0) >= 90, 'the first request waited for the last one');
  });

  it('sends no additional requests when requests are rejected immediately', async (context) => {
    const { sent, responses } = await loadOn(context, (_request, response) => response.writeHead(503).end());
    assert.equal(sent, 20);
    assert.deepEqual(
      responses.map(({ status }) => status),
      Array.from({ length: 20 }, () => 503),
    );
  });

  it('does not report the requests of the first ignoredMilliseconds', async (context) => {
    const { sent, responses } = await loadOn(context, (_request, response) => response.end(), 50);
    assert.deepEqual([sent, responses.length], [10, 10]);
  });

  it('counts incomplete responses as errors', async (context) => {
    const { responses, errors } = await loadOn(context, (_request, response) => {
      response.writeHead(200, { 'Content-Length': 5 });
      response.write('wh', () => response.destroy());
    });
    assert.deepEqual([responses, errors], [[], { ECONNRESET: 20 }]);
  });
});
