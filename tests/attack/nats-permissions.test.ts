import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { describeOnNats } from '../../packages/chassis/src/events/testing-nats.ts';
import { eventually } from '../system/lib/eventually.ts';
import { call, readSample } from '../system/lib/http.ts';
import { type NatsUser, type NatsWithUsers, startNatsWithUsers } from '../system/lib/nats-with-users.ts';
import { type System, startSystem } from '../system/lib/system.ts';

/** Milliseconds that the server has to respond; what it forbids it does not respond to. */
const timeout = 2000;
const stream = 'ZERDA';

await describeOnNats('with the users of charts/zerda/files/nats-users.conf', () => {
  let nats: NatsWithUsers;
  let system: System;
  const connections = new Map<NatsUser, NatsConnection>();

  before(async () => {
    const started = await startNatsWithUsers();
    assert.ok(started);
    nats = started;
    const user = (name: 'user-service' | 'order-service') => ({
      NATS_USER: name,
      NATS_PASSWORD: nats.passwords[name],
    });
    system = await startSystem(
      { NATS_URL: nats.url },
      { 'user-service': user('user-service'), 'order-service': user('order-service') },
    );
    for (const name of Object.keys(nats.passwords) as NatsUser[]) connections.set(name, await enter(name));
    // Both services have found their stream and consumer.
    await eventually(async () => {
      await (await manager('zerda')).consumers.info(stream, 'order-service');
    });
  });
  after(async () => {
    for (const connection of connections.values()) await connection.close();
    await system?.close();
    await nats?.stop();
  });

  const enter = (user: NatsUser, inboxPrefix = `_INBOX.${user}`) =>
    connect({ servers: nats.url, user, pass: nats.passwords[user], inboxPrefix, reconnect: false });

  const connectionOf = (user: NatsUser): NatsConnection => {
    const connection = connections.get(user);
    assert.ok(connection);
    return connection;
  };
  const manager = (user: NatsUser): Promise<JetStreamManager> =>
    jetstreamManager(connectionOf(user), { checkAPI: false, timeout });
  const publish = (user: NatsUser, subject: string) =>
    jetstream(connectionOf(user), { timeout }).publish(subject, '{}');
  const request = (user: NatsUser, subject: string, body = '') =>
    connectionOf(user).request(subject, body, { timeout });

  async function placeOrder(): Promise<{ userId: number; orderId: number }> {
    const post = async (path: string, json: object) => {
      const { status, body, text } = await call(`${system.gateway.url}${path}`, { method: 'POST', json });
      assert.equal(status, 201, text);
      return body.data.id as number;
    };
    const email = `user${Math.random()}@example.com`;
    const userId = await post('/api/users', { name: 'Dora Grey', email });
    const orderId = await post('/api/orders', { user_id: userId, product: 'Desk', quantity: 1, total: 10 });
    return { userId, orderId };
  }
  const statusOf = async (orderId: number) =>
    (await call(`${system.gateway.url}/api/orders/${orderId}`)).body.data.status as string;
  const rejected = (reason: string) =>
    readSample(system.orders.managementUrl, `events_rejected_total{transport="nats",reason="${reason}"}`);

  it('both services send and hear: the orders of a deleted user are cancelled', async () => {
    const { userId, orderId } = await placeOrder();
    await call(`${system.gateway.url}/api/users/${userId}`, { method: 'DELETE' });
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

  it('order-service goes on after its consumer and the stream are lost', async () => {
    const operator = await manager('zerda');
    await operator.consumers.delete(stream, 'order-service').catch(() => undefined);
    await operator.streams.delete(stream);
    const { userId, orderId } = await placeOrder();
    await call(`${system.gateway.url}/api/users/${userId}`, { method: 'DELETE' });
    await eventually(async () => assert.equal(await statusOf(orderId), 'cancelled'), 30_000);
  });

  it('a user.deleted that is not signed cancels no order, and is counted', async () => {
    const { userId, orderId } = await placeOrder();
    const before = await rejected('unsigned');
    const forged = {
      specversion: '1.0',
      ...{ id: crypto.randomUUID(), source: '/user-service', type: 'zerda.user.deleted.v1' },
      ...{ subject: `users/${userId}`, time: new Date().toISOString(), sequence: '0000000099' },
      ...{ datacontenttype: 'application/json', data: { id: userId } },
    };
    await jetstream(connectionOf('user-service')).publish(forged.type, JSON.stringify(forged));
    await eventually(async () => assert.equal(await rejected('unsigned'), before + 1));
    assert.equal(await statusOf(orderId), 'pending');
    await call(`${system.gateway.url}/api/users/${userId}`, { method: 'DELETE' });
    await eventually(async () => assert.equal(await statusOf(orderId), 'cancelled'));
  });

  it('a client without a user, or with another password, does not connect', async () => {
    const options = { servers: nats.url, reconnect: false };
    for (const access of [
      {},
      { user: 'user-service' },
      { user: 'user-service', pass: '' },
      { user: 'user-service', pass: nats.passwords['order-service'] },
      { user: 'gateway', pass: nats.passwords['user-service'] },
    ]) {
      await assert.rejects(connect({ ...options, ...access }), { name: 'AuthorizationError' });
    }
  });

  const forbidden: [user: NatsUser, subjects: readonly string[]][] = [
    [
      'user-service',
      ['zerda.order.cancelled.v1', 'zerda.user', 'zerda.other', '$JS.ACK.ZERDA.order-service.1.1.1.1.0'],
    ],
    ['order-service', ['zerda.user.deleted.v1', 'zerda.order', 'zerda.other']],
  ];
  for (const [user, subjects] of forbidden) {
    it(`${user} publishes nothing but its own events`, async () => {
      const operator = await manager('zerda');
      const last = async () => (await operator.streams.info(stream)).state.last_seq;
      const before = await last();
      for (const subject of subjects) {
        await assert.rejects(publish(user, subject), /permissions violation/i, subject);
      }
      for (const other of ['user-service', 'order-service', 'zerda']) {
        await assert.rejects(request(user, `_INBOX.${other}.x`), /permissions violation/i, other);
      }
      assert.equal(await last(), before);
    });

    it(`${user} neither deletes nor changes the stream, nor reads from it but through its own consumer`, async () => {
      const operator = await manager('zerda');
      const before = await operator.streams.info(stream);
      const consumer = user === 'order-service' ? 'user-service' : 'order-service';
      const { streams, consumers } = await manager(user);
      const config = { durable_name: consumer, ack_policy: 'explicit' } as const;
      const attempts: Record<string, () => Promise<unknown>> = {
        'delete the stream': () => streams.delete(stream),
        'purge it': () => streams.purge(stream),
        'update it': () => streams.update(stream, { max_age: 0 }),
        'delete a message': () => streams.deleteMessage(stream, 1),
        'get a message': () => streams.getMessage(stream, { seq: 1 }),
        'get one directly': () => request(user, `$JS.API.DIRECT.GET.${stream}`, '{"seq":1}'),
        'make another stream': () => streams.add({ name: 'OTHER', subjects: ['other.>'] }),
        'list streams': () => streams.names().next(),
        'list consumers': () => consumers.list(stream).next(),
        'make the consumer of the other': () => consumers.add(stream, config),
        'make it by the older API': () =>
          request(user, `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.${consumer}`, '{}'),
        'make one without a name': () => request(user, `$JS.API.CONSUMER.CREATE.${stream}`, '{}'),
        'make its own for everything': () =>
          consumers.add(stream, { durable_name: user, ack_policy: 'explicit', filter_subject: 'zerda.>' }),
        'make its own without a filter': () =>
          consumers.add(stream, { durable_name: user, ack_policy: 'explicit' }),
        'look at the consumer of the other': () => consumers.info(stream, consumer),
        'delete it': () => consumers.delete(stream, consumer),
        'take its messages': () => request(user, `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, '1'),
        'look at the account': () => request(user, '$JS.API.INFO'),
        'ask the server': () => request(user, '$SYS.REQ.USER.INFO'),
      };
      for (const [what, attempt] of Object.entries(attempts)) {
        await assert.rejects(attempt(), /permissions violation/i, what);
      }
      const now = await operator.streams.info(stream);
      assert.deepEqual([now.config, now.state.messages], [before.config, before.state.messages]);
    });

    it(`${user} subscribes to nothing but the responses to itself`, async () => {
      const other = user === 'user-service' ? 'order-service' : 'user-service';
      for (const subject of [
        '>',
        'zerda.>',
        'zerda.user.deleted.v1',
        '_INBOX.>',
        `_INBOX.${other}.>`,
        '$JS.>',
      ]) {
        const connection = await enter(user);
        const denied = new Promise<Error | undefined>((resolve) => {
          connection.subscribe(subject, { callback: (error) => resolve(error ?? undefined) });
        });
        assert.match((await denied)?.message ?? 'a message', /permissions violation/i, subject);
        await connection.close();
      }
    });
  }
});
