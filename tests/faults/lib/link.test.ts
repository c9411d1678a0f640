import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import { cuts, type Link, openLink } from './link.ts';

let server: Server;
let link: Link;
let asked = 0;

before(async () => {
  server = createServer((_request, response) => {
    asked += 1;
    response.end('answer');
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
  asked = 0;
});

const get = (timeoutMs = 2000) =>
  fetch(`http://127.0.0.1:${link.port}/`, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(timeoutMs),
  }).then((response) => response.text());

describe('a link', () => {
  it('leads through, and again after each kind of cut', async () => {
    for (const cut of cuts) {
      link.cut(cut);
      link.heal();
      assert.equal(await get(), 'answer', cut);
    }
  });

  it('loses what is asked', async () => {
    link.cut('drop');
    await assert.rejects(get(100), { name: 'TimeoutError' });
    assert.equal(asked, 0);
  });

  it('refuses', async () => {
    link.cut('refuse');
    await assert.rejects(get(), { message: 'fetch failed' });
    assert.equal(asked, 0);
  });

  it('is late', async () => {
    link.cut('delay');
    const begun = performance.now();
    assert.equal(await get(), 'answer');
    assert.ok(performance.now() - begun >= 300, 'once there and once back');
  });

  it('loses the answer to what has arrived', async () => {
    link.cut('lose-answers');
    await assert.rejects(get(200), { name: 'TimeoutError' });
    assert.equal(asked, 1);
  });

  it('loses requests of a connection whose answers come', async () => {
    link.cut('lose-requests');
    await assert.rejects(get(100), { name: 'TimeoutError' });
    assert.equal(asked, 0);
  });

  it('breaks amid the answer to what has arrived', async () => {
    link.cut('reset-answers');
    await assert.rejects(get(), { message: /fetch failed|terminated/ });
    assert.equal(asked, 1);
  });

  it('leaves a connection that was open mute after it is well again, until it is forgotten', async () => {
    link.cut('drop');
    const left = get(10_000);
    // The other side hears nothing of it: only the reset tells.
    await assert.rejects(get(100), { name: 'TimeoutError' });
    link.heal();
    assert.equal(await get(), 'answer');
    link.forget();
    await assert.rejects(left, { message: 'fetch failed' });
  });

  it('goes past a target that refuses', async (context) => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port: dead } = other.address() as AddressInfo;
    other.close();
    const { port: alive } = server.address() as AddressInfo;
    const two = await openLink({ name: 'two', targets: [dead, alive] });
    context.after(() => two.close());
    for (let count = 0; count < 4; count += 1) {
      const response = await fetch(`http://127.0.0.1:${two.port}/`, { headers: { connection: 'close' } });
      assert.equal(await response.text(), 'answer');
    }
  });
});
