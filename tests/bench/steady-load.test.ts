import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { runSteadyLoad } from './steady-load.ts';

async function loadOn(context: TestContext, listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return runSteadyLoad({ port, path: '/', perSecond: 200, milliseconds: 100 });
}

describe('the load at a steady pace', () => {
  it('goes on sending while nothing is answered, and waits for what comes late', async (context) => {
    const held: ServerResponse[] = [];
    const { sent, answers, errors } = await loadOn(context, (_request, response) => {
      held.push(response);
      if (held.length === 20) for (const one of held) one.end();
    });
    assert.deepEqual([sent, answers.length, errors], [20, 20, {}]);
    assert.ok((answers[0]?.ms ?? 0) >= 90, 'the first request has waited for the last');
  });

  it('sends no more when it is refused at once', async (context) => {
    const { sent, answers } = await loadOn(context, (_request, response) => response.writeHead(503).end());
    assert.equal(sent, 20);
    assert.deepEqual(
      answers.map(({ status }) => status),
      Array.from({ length: 20 }, () => 503),
    );
  });

  it('counts answers that break off', async (context) => {
    const { answers, errors } = await loadOn(context, (_request, response) => {
      response.writeHead(200, { 'Content-Length': 5 });
      response.write('wh', () => response.destroy());
    });
    assert.deepEqual([answers, errors], [[], { ECONNRESET: 20 }]);
  });
});
