import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { describeOnNats } from '../../packages/events/testing/nats.ts';
import { readSample } from '../kit/metrics.ts';
import { type NatsWithUsers, startNatsWithUsers } from '../kit/nats-with-users.ts';
import { type System, startSystem } from '../kit/system.ts';

/** Milliseconds to wait for a response. The server does not respond to denied requests. */
const timeout = 2000;
const stream = 'ZERDA';

await describeOnNats('with the users of charts/zerda/files/nats-users.conf', () => {
  let nats: NatsWithUsers;
  let system: System;
  const connections = new Map<string, NatsConnection>();

  before(async () => {
    nats = await startNatsWithUsers();
    const user = (name: 'user-service' | 'order-service') => ({
      NATS_USER: name,
      NATS_PASSWORD: nats.passwordOf(name),
    });
    system = await startSystem(
      { NATS_URL: nats.url },
      { 'user-service': user('user-service'), 'order-service': user('order-service') },
    );
    for (const name of nats.users) connections.set(name, await connectAs(name));
    // Stream and consumer exist.
    await eventually(async () => {
      await (await manager('zerda')).consumers.info(stream, 'order-service');
    });
  });
  after(async () => {
    for (const connection of connections.values()) await connection.close();
    await system?.close();
    await nats?.stop();
  });

  const connectAs = (user: string, inboxPrefix = `_INBOX.${user}`) =>
    connect({ servers: nats.url, user, pass: nats.passwordOf(user), inboxPrefix, reconnect: false });

  const connectionOf = (user: string): NatsConnection => {
    const connection = connections.get(user);
    assert.ok(connection);
    return connection;
  };
  const manager = (user: string): Promise<JetStreamManager> =>
    jetstreamManager(connectionOf(user), { checkAPI: false, timeout });
  const publish = (user: string, subject: string) =>
    jetstream(connectionOf(user), { timeout }).publish(subject, '{}');
  const request = (user: string, subject: string, body = '') =>
    connectionOf(user).request(subject, body, { timeout });

  async function placeOrder(): Promise<{ userId: number; orderId: number }> {
    const post = async (path: string, json: object) => {
      const { status, body, text } = await sendRequest(`${system.gateway.url}${path}`, {
        method: 'POST',
        json,
      });
      assert.equal(status, 201, text);
      return body.data.id as number;
    };
    const email = `user${Math.random()}@example.com`;
    const userId = await post('/api/users', { name: 'Dora Grey', email });
    const orderId = await post('/api/orders', { user_id: userId, product: 'Desk', quantity: 1, total: 10 });
    return { userId, orderId };
  }
  const statusOf = async (orderId: number) =>
    (await sendRequest(`${system.gateway.url}/api/orders/${orderId}`)).body.data.status as string;
  const rejectedEvents = (reason: string) =>
    readSample(system.orders.managementUrl, `events_rejected_total{transport="nats",reason="${reason}"}`);

  it('both services publish and receive events: the orders of a deleted user are canceled', async () => {
    const { userId, orderId } = await placeOrder();
    await sendRequest(`${system.gateway.url}/api/users/${userId}`, { method: 'DELETE' });
    await eventually(async () => assert.equal(await statusOf(orderId), 'cancelled'));
    await eventually(async () => {
      for (const { managementUrl } of [system.users, system.orders]) {
        assert.equal(await readSample(managementUrl, 'outbox_pending'), 0);
      }
    });
    const { state } = await (await manager('zerda')).streams.info(stream, { subjects_filter: '>' });
    const subjects = Object.keys(state.subjects ?? {});
    assert.ok(subjects.includes('zerda.user.deleted.v1') && subjects.includes('zerda.order.cancelled.v1'));
  });

  it('order-service receives events after its consumer and the stream were deleted', async () => {
    const operator = await manager('zerda');
    await operator.consumers.delete(stream, 'order-service').catch(() => undefined);
    await operator.streams.delete(stream);
    const { userId, orderId } = await placeOrder();
    await sendRequest(`${system.gateway.url}/api/users/${userId}`, { method: 'DELETE' });
    await eventually(
      async () => assert.equal(await statusOf(orderId), 'cancelled'),
      'the order is canceled',
      30_000,
    );
  });

  it('an unsigned user.deleted event cancels no order and is counted', async () => {
    const { userId, orderId } = await placeOrder();
    const before = await rejectedEvents('unsigned');
    const forged = {
      specversion: '1.0',
      id: crypto.randomUUID(),
      source: '/user-service',
      type: 'zerda.user.deleted.v1',
      subject: `users/${userId}`,
      time: new Date().toISOString(),
      sequence: '0000000099',
      datacontenttype: 'application/json',
      data: { id: userId },
    };
    await jetstream(connectionOf('user-service')).publish(forged.type, JSON.stringify(forged));
    await eventually(async () => assert.equal(await rejectedEvents('unsigned'), before + 1));
    assert.equal(await statusOf(orderId), 'pending');
    await sendRequest(`${system.gateway.url}/api/users/${userId}`, { method: 'DELETE' });
    await eventually(async () => assert.equal(await statusOf(orderId), 'cancelled'));
  });

  it('a client without credentials or with wrong credentials cannot connect', async () => {
    const options = { servers: nats.url, reconnect: false };
    for (const credentials of [
      {},
      { user: 'user-service' },
      { user: 'user-service', pass: '' },
      { user: 'user-service', pass: nats.passwordOf('order-service') },
      { user: 'gateway', pass: nats.passwordOf('user-service') },
    ]) {
      await assert.rejects(connect({ ...options, ...credentials }), { name: 'AuthorizationError' });
    }
  });

  const forbidden: [user: string, subjects: readonly string[]][] = [
    [
      'user-service',
      ['zerda.order.cancelled.v1', 'zerda.user', 'zerda.other', '$JS.ACK.ZERDA.order-service.1.1.1.1.0'],
    ],
    ['order-service', ['zerda.user.deleted.v1', 'zerda.order', 'zerda.other']],
  ];
  for (const [user, subjects] of forbidden) {
    it(`${user} can publish its own events only`, async () => {
      const operator = await manager('zerda');
      const lastSequence = async () => (await operator.streams.info(stream)).state.last_seq;
      const before = await lastSequence();
      for (const subject of subjects) {
        await assert.rejects(publish(user, subject), /permissions violation/i, subject);
      }
      for (const other of ['user-service', 'order-service', 'zerda']) {
        await assert.rejects(request(user, `_INBOX.${other}.x`), /permissions violation/i, other);
      }
      assert.equal(await lastSequence(), before);
    });

    it(`${user} can neither delete nor change the stream, and reads through its own consumer only`, async () => {
      const operator = await manager('zerda');
      const before = await operator.streams.info(stream);
      const consumer = user === 'order-service' ? 'user-service' : 'order-service';
      const { streams, consumers } = await manager(user);
      const config = { durable_name: consumer, ack_policy: 'explicit' } as const;
      const attempts: Record<string, () => Promise<unknown>> = {
        'delete the stream': () => streams.delete(stream),
        'purge the stream': () => streams.purge(stream),
        'update the stream': () => streams.update(stream, { max_age: 0 }),
        'delete a message': () => streams.deleteMessage(stream, 1),
        'get a message': () => streams.getMessage(stream, { seq: 1 }),
        'get a message directly': () => request(user, `$JS.API.DIRECT.GET.${stream}`, '{"seq":1}'),
        'create another stream': () => streams.add({ name: 'OTHER', subjects: ['other.>'] }),
        'list streams': () => streams.names().next(),
        'list consumers': () => consumers.list(stream).next(),
        'create the consumer of the other service': () => consumers.add(stream, config),
        'create that consumer by the older API': () =>
          request(user, `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.${consumer}`, '{}'),
        'create a consumer without a name': () => request(user, `$JS.API.CONSUMER.CREATE.${stream}`, '{}'),
        'create its own consumer for all subjects': () =>
          consumers.add(stream, { durable_name: user, ack_policy: 'explicit', filter_subject: 'zerda.>' }),
        'create its own consumer without a filter': () =>
          consumers.add(stream, { durable_name: user, ack_policy: 'explicit' }),
        'get the consumer of the other service': () => consumers.info(stream, consumer),
        'delete that consumer': () => consumers.delete(stream, consumer),
        'get messages of that consumer': () =>
          request(user, `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, '1'),
        'get the account': () => request(user, '$JS.API.INFO'),
        'get the server user info': () => request(user, '$SYS.REQ.USER.INFO'),
      };
      for (const [name, attempt] of Object.entries(attempts)) {
        await assert.rejects(attempt(), /permissions violation/i, name);
      }
      const now = await operator.streams.info(stream);
      assert.deepEqual([now.config, now.state.messages], [before.config, before.state.messages]);
    });

    it(`${user} can subscribe to its own inbox only`, async () => {
      const other = user === 'user-service' ? 'order-service' : 'user-service';
      for (const subject of [
        '>',
        'zerda.>',
        'zerda.user.deleted.v1',
        '_INBOX.>',
        `_INBOX.${other}.>`,
        '$JS.>',
      ]) {
        const connection = await connectAs(user);
        const denied = new Promise<Error | undefined>((resolve) => {
          connection.subscribe(subject, { callback: (error) => resolve(error ?? undefined) });
        });
        assert.match((await denied)?.message ?? 'a message', /permissions violation/i, subject);
        await connection.close();
      }
    });
  }
});
