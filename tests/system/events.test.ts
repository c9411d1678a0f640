import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { runScript } from '../kit/command.ts';
import { readSample } from '../kit/metrics.ts';
import { type System, startSystem } from '../kit/system.ts';

let system: System;
let userCount = 0;

before(async () => {
  // The events that a killed relay had leased are available again after the lease expires.
  system = await startSystem({ EVENT_LEASE_MS: '3000' });
});
after(() => system.close());

async function createUser(): Promise<number> {
  userCount += 1;
  const json = { name: `User ${userCount}`, email: `user${userCount}@example.com` };
  const response = await sendRequest(`${system.gateway.url}/api/users`, { method: 'POST', json });
  assert.equal(response.status, 201, response.text);
  return response.body.data.id;
}

const placeOrder = (user_id: number) =>
  sendRequest(`${system.gateway.url}/api/orders`, {
    method: 'POST',
    json: { user_id, product: 'Desk', quantity: 1, total: 10 },
  });

const statusesOf = async (userId: number): Promise<string[]> => {
  const { body } = await sendRequest(`${system.gateway.url}/api/orders/user/${userId}`);
  return body.data.map(({ status }: { status: string }) => status);
};

const deleteUser = async (userId: number): Promise<void> => {
  const { status } = await sendRequest(`${system.users.url}/api/users/${userId}`, { method: 'DELETE' });
  assert.equal(status, 200);
};

describe('a deleted user', () => {
  it('gets open orders canceled and cannot place new ones', async () => {
    const user = await createUser();
    for (let count = 0; count < 3; count += 1) assert.equal((await placeOrder(user)).status, 201);
    await deleteUser(user);
    await eventually(async () =>
      assert.deepEqual(await statusesOf(user), ['cancelled', 'cancelled', 'cancelled']),
    );
    const rejected = await placeOrder(user);
    assert.deepEqual([rejected.status, rejected.body.type], [422, '/problems/unknown-user']);
  });

  it('gets open orders canceled when both services were killed before the event was delivered', async () => {
    const user = await createUser();
    assert.equal((await placeOrder(user)).status, 201);
    await system.orders.kill();
    await deleteUser(user);
    // user-service publishes the stored event after its restart.
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
  it('rejects an unsigned event with 401', async () => {
    const response = await sendRequest(`${system.orders.managementUrl}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      json: { specversion: '1.0', id: '1', source: '/user-service', type: 'zerda.user.deleted.v1' },
    });
    assert.equal(response.status, 401);
  });
});

describe('npm run events', () => {
  const runEvents = (...args: string[]) => runScript('events', system.variables, args);

  it('exits with code 1 while a service uses the embedded database', async () => {
    const { code, stderr } = await runEvents('dead-letters', 'list');
    assert.equal(code, 1);
    assert.match(stderr, /order-service is in use by process \d+/);
  });

  it('rebuilds the projection from user-service while order-service is down, and lists dead letters', async () => {
    await system.orders.stop();
    const replayed = await runEvents('replay-projection');
    assert.equal(replayed.code, 0, replayed.stderr);
    assert.match(replayed.stdout, /^order-service: 3 users are known; 0 were deleted/);
    await system.users.stop();
    const listed = await runEvents('dead-letters', 'list');
    assert.deepEqual(
      [listed.code, listed.stdout.trim().split('\n')],
      [0, ['user-service: no dead letters', 'order-service: no dead letters']],
    );
  });
});
