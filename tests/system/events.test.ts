import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { runScript } from './lib/command.ts';
import { eventually } from './lib/eventually.ts';
import { call, readSample } from './lib/http.ts';
import { type System, startSystem } from './lib/system.ts';

let system: System;
let users = 0;

before(async () => {
  // What a relay had taken when it was killed is free for others once its lease has run out.
  system = await startSystem({ EVENT_LEASE_MS: '3000' });
});
after(() => system.close());

async function createUser(): Promise<number> {
  users += 1;
  const json = { name: `User ${users}`, email: `user${users}@example.com` };
  const answer = await call(`${system.gateway.url}/api/users`, { method: 'POST', json });
  assert.equal(answer.status, 201, answer.text);
  return answer.body.data.id;
}

const place = (user_id: number) =>
  call(`${system.gateway.url}/api/orders`, {
    method: 'POST',
    json: { user_id, product: 'Desk', quantity: 1, total: 10 },
  });

const statusesOf = async (userId: number): Promise<string[]> => {
  const { body } = await call(`${system.gateway.url}/api/orders/user/${userId}`);
  return body.data.map(({ status }: { status: string }) => status);
};

const remove = async (userId: number): Promise<void> => {
  const { status } = await call(`${system.users.url}/api/users/${userId}`, { method: 'DELETE' });
  assert.equal(status, 200);
};

describe('a deleted user', () => {
  it('has the open orders cancelled, and can place none', async () => {
    const user = await createUser();
    for (let count = 0; count < 3; count += 1) assert.equal((await place(user)).status, 201);
    await remove(user);
    await eventually(async () =>
      assert.deepEqual(await statusesOf(user), ['cancelled', 'cancelled', 'cancelled']),
    );
    const refused = await place(user);
    assert.deepEqual([refused.status, refused.body.type], [422, '/problems/unknown-user']);
  });

  it('has them cancelled although order-service was killed before it could hear of it', async () => {
    const user = await createUser();
    assert.equal((await place(user)).status, 201);
    await system.orders.kill();
    await remove(user);
    // What was written is sent although the writer dies as well.
    await system.users.kill();
    await system.users.start();
    await system.orders.start();
    await eventually(async () => assert.deepEqual(await statusesOf(user), ['cancelled']));
    await eventually(async () =>
      assert.equal(await readSample(system.users.managementUrl, 'outbox_pending'), 0),
    );
  });
});

describe('the event sink', () => {
  it('lets nobody post an event who does not know the secret', async () => {
    const answer = await call(`${system.orders.managementUrl}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      json: { specversion: '1.0', id: '1', source: '/user-service', type: 'zerda.user.deleted.v1' },
    });
    assert.equal(answer.status, 401);
  });
});

describe('npm run events', () => {
  const events = (...words: string[]) => runScript('events', system.variables, words);

  it('says that a service which runs on the embedded database has to be stopped', async () => {
    const { code, stderr } = await events('dead-letters', 'list');
    assert.equal(code, 1);
    assert.match(stderr, /order-service is in use by process \d+/);
  });

  it('makes the projection anew from user-service while order-service is down, and lists dead letters', async () => {
    await system.orders.stop();
    const replayed = await events('replay-projection');
    assert.equal(replayed.code, 0, replayed.stderr);
    assert.match(replayed.stdout, /^order-service: 3 users are known; 0 were gone/);
    await system.users.stop();
    const listed = await events('dead-letters', 'list');
    assert.deepEqual(
      [listed.code, listed.stdout.trim().split('\n')],
      [0, ['user-service: no dead letters', 'order-service: no dead letters']],
    );
  });
});
