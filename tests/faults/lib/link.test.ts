import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import { cuts, type Link, openLink } from './link.ts';

let server: Server;
let link: Link;
let requestCount = 0;

before(async () => {
  server = createServer((_request, response) => {
    requestCount += 1;
    response.end('response');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  link = await openLink({ name: 'link', targets: [(server.address() as AddressInfo).port], delayMs: 150 });
});
after(async () => {
  await link.close();
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  link.heal();
  requestCount = 0;
});

const get = (timeoutMs = 2000) =>
  fetch(`http://127.0.0.1:${link.port}/`, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(timeoutMs),
  }).then((response) => response.text());

describe('a link', () => {
  it('forwards requests after each kind of cut is healed', async () => {
    for (const cut of cuts) {
      link.cut(cut);
      link.heal();
      assert.equal(await get(), 'response', cut);
    }
  });

  it('drops requests', async () => {
    link.cut('drop');
    await assert.rejects(get(100), { name: 'TimeoutError' });
    assert.equal(requestCount, 0);
  });

  it('refuses connections', async () => {
    link.cut('refuse');
    await assert.rejects(get(), { message: 'fetch failed' });
    assert.equal(requestCount, 0);
  });

  it('delays requests and responses', async () => {
    link.cut('delay');
    const startedAt = performance.now();
    assert.equal(await get(), 'response');
    assert.ok(performance.now() - startedAt >= 300, 'both directions are delayed');
  });

  it('loses the response to a request that has arrived', async () => {
    link.cut('lose-responses');
    await assert.rejects(get(200), { name: 'TimeoutError' });
    assert.equal(requestCount, 1);
  });

  it('loses requests but not responses', async () => {
    link.cut('lose-requests');
    await assert.rejects(get(100), { name: 'TimeoutError' });
    assert.equal(requestCount, 0);
  });

  it('resets the connection in the middle of a response', async () => {
    link.cut('reset-responses');
    await assert.rejects(get(), { message: /fetch failed|terminated/ });
    assert.equal(requestCount, 1);
  });

  it('leaves a dropped connection silent after it is healed, until it is reset', async () => {
    link.cut('drop');
    const dropped = get(10_000);
    // The client notices nothing until the reset.
    await assert.rejects(get(100), { name: 'TimeoutError' });
    link.heal();
    assert.equal(await get(), 'response');
    link.resetLossy();
    await assert.rejects(dropped, { message: 'fetch failed' });
  });

  it('skips a target that refuses', async (context) => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port: closedPort } = other.address() as AddressInfo;
    other.close();
    const { port: openPort } = server.address() as AddressInfo;
    const linkToBoth = await openLink({ name: 'link to both', targets: [closedPort, openPort] });
    context.after(() => linkToBoth.close());
    for (let count = 0; count < 4; count += 1) {
      const response = await fetch(`http://127.0.0.1:${linkToBoth.port}/`, {
        headers: { connection: 'close' },
      });
      assert.equal(await response.text(), 'response');
    }
  });
});
