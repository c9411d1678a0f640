import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { startClients } from './clients.ts';

describe('the clients', () => {
  it('read and write as often, a tenth of each on a connection of its own, and know what was acknowledged', async (context) => {
    const seen: { method: string | undefined; own: boolean; key: string | undefined }[] = [];
    let refuse = false;
    const server = createServer((request, response) => {
      const { connection, 'idempotency-key': key } = request.headers;
      seen.push({ method: request.method, own: connection === 'close', key: key?.toString() });
      response.statusCode = refuse ? 503 : request.method === 'POST' ? 201 : 200;
      request.resume().once('end', () => response.end(JSON.stringify({ data: { id: seen.length } })));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    context.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const clients = startClients({ address: `127.0.0.1:${port}`, hostName: 'any.example', perSecond: 300 });
    const good = await clients.open('all is well').close(200);
    refuse = true;
    const bad = await clients.open('nothing is').close(100);
    await clients.stop();

    assert.equal(good.failed.length, 0);
    assert.ok(good.outcomes.length >= 200 && bad.failed.length >= 50);
    const writes = seen.filter(({ method }) => method === 'POST');
    assert.ok(Math.abs(writes.length - seen.length / 2) <= 1);
    assert.ok(Math.abs(writes.filter(({ own }) => own).length - seen.length / 20) <= 1);
    assert.ok(Math.abs(seen.filter(({ own }) => own).length - seen.length / 10) <= 1);
    const keys = writes.map(({ key }) => key);
    assert.equal(new Set(keys).size, keys.length);
    const { users, orders } = clients.acknowledged;
    const marks = new Set([...users, ...orders].map(({ mark }) => mark));
    assert.ok(keys.slice(0, 50).every((key) => key !== undefined && marks.has(key)));
    const refused = seen.slice(-50).filter(({ method }) => method === 'POST');
    assert.ok(refused.every(({ key }) => key !== undefined && !marks.has(key)));
  });
});
