import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { startClients } from './clients.ts';

describe('the clients', () => {
  it('send as many reads as writes, a tenth of each on a new connection, and record acknowledged writes', async (context) => {
    const requests: { method: string | undefined; newConnection: boolean; key: string | undefined }[] = [];
    let reject = false;
    const server = createServer((request, response) => {
      const { connection, 'idempotency-key': key } = request.headers;
      requests.push({
        method: request.method,
        newConnection: connection === 'close',
        key: key?.toString(),
      });
      response.statusCode = reject ? 503 : request.method === 'POST' ? 201 : 200;
      request.resume().once('end', () => response.end(JSON.stringify({ data: { id: requests.length } })));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    context.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const clients = startClients({ address: `127.0.0.1:${port}`, hostName: 'any.example', perSecond: 300 });
    const good = await clients.open('no fault').close(200);
    reject = true;
    const bad = await clients.open('all requests are rejected').close(100);
    await clients.stop();

    assert.equal(good.failed.length, 0);
    assert.ok(good.outcomes.length >= 200 && bad.failed.length >= 50);
    const writes = requests.filter(({ method }) => method === 'POST');
    assert.ok(Math.abs(writes.length - requests.length / 2) <= 1);
    assert.ok(
      Math.abs(writes.filter(({ newConnection }) => newConnection).length - requests.length / 20) <= 1,
    );
    assert.ok(
      Math.abs(requests.filter(({ newConnection }) => newConnection).length - requests.length / 10) <= 1,
    );
    const keys = writes.map(({ key }) => key);
    assert.equal(new Set(keys).size, keys.length);
    const { users, orders } = clients.acknowledged;
    const marks = new Set([...users, ...orders].map(({ mark }) => mark));
    assert.ok(keys.slice(0, 50).every((key) => key !== undefined && marks.has(key)));
    const rejected = requests.slice(-50).filter(({ method }) => method === 'POST');
    assert.ok(rejected.every(({ key }) => key !== undefined && !marks.has(key)));
  });
});
