import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { startSilentRelay } from '@zerda/chassis/testing/relay';
import { eventually } from '@zerda/chassis/testing/wait';
import { describeOnNats, startNats } from '../testing/nats.ts';
import {
  scriptedReceiver,
  sendWithRetries,
  type TransportFixture,
  testEvent,
  testTransport,
} from '../testing/transport.ts';
import { eventMetrics } from './event-metrics.ts';
import type { NatsAccess } from './nats-connection.ts';
import { filterOf } from './nats-stream.ts';
import { createNatsTransport } from './nats-transport.ts';
import type { EventTransport } from './transport.ts';

const logger = silentLogger();
const secrets = ['a secret of at least thirty-two characters'];

function openTransport(access: NatsAccess, service: string): Promise<EventTransport> {
  return createNatsTransport({
    access,
    service,
    prefix: 'zerda',
    secrets,
    logger,
    timeoutMs: 500,
    ackWaitMs: 2000,
    metrics: eventMetrics(testMetrics().registry),
  });
}

async function openFixture(): Promise<TransportFixture> {
  const nats = await startNats();
  return {
    sender: () => openTransport({ servers: nats.url }, 'sender'),
    receiver: () => openTransport({ servers: nats.url }, 'receiver'),
    disconnect: () => nats.kill(),
    reconnect: () => nats.start(),
    close: () => nats.stop(),
  };
}

await describeOnNats('events over NATS', () => testTransport(openFixture));

await describeOnNats('JetStream transport', () => {
  it('starts while the server is unavailable', async (context) => {
    const nats = await startNats();
    context.after(() => nats.stop());
    await nats.kill();
    const sender = await openTransport({ servers: nats.url }, 'sender');
    const receiver = await openTransport({ servers: nats.url }, 'receiver');
    context.after(() => Promise.all([sender.close(), receiver.close()]));
    const { receiver: scripted, received } = scriptedReceiver();
    receiver.subscribe(scripted);
    await assert.rejects(sender.send(testEvent()), { kind: 'unavailable' });
    await nats.start();
    const event = testEvent();
    await sendWithRetries(sender, event);
    await eventually(() => received.includes(event.text));
  });

  it('recreates the stream and the consumer if the server has lost them', async (context) => {
    const nats = await startNats();
    const sender = await openTransport({ servers: nats.url }, 'sender');
    const receiver = await openTransport({ servers: nats.url }, 'receiver');
    context.after(async () => {
      await Promise.all([sender.close(), receiver.close()]);
      await nats.stop();
    });
    const { receiver: scripted, received } = scriptedReceiver();
    receiver.subscribe(scripted);
    await sendWithRetries(sender, testEvent());
    await eventually(() => received.length === 1);
    const admin = await connect({ servers: nats.url });
    await (await jetstreamManager(admin)).streams.delete('ZERDA');
    await admin.close();
    const event = testEvent();
    await sendWithRetries(sender, event);
    await eventually(() => received.includes(event.text));
  });

  it('stores an event once if it is sent twice', async (context) => {
    const nats = await startNats();
    const sender = await openTransport({ servers: nats.url }, 'sender');
    const admin = await connect({ servers: nats.url });
    context.after(async () => {
      await sender.close();
      await admin.close();
      await nats.stop();
    });
    const event = testEvent();
    await sendWithRetries(sender, event);
    await sender.send(event);
    const { state, config } = await (await jetstreamManager(admin)).streams.info('ZERDA');
    assert.deepEqual([state.messages, config.subjects], [1, ['zerda.>']]);
  });

  it('receives newly subscribed types although the consumer had another filter', async (context) => {
    const nats = await startNats();
    context.after(() => nats.stop());
    const sender = await openTransport({ servers: nats.url }, 'sender');
    context.after(() => sender.close());
    const { receiver, received } = scriptedReceiver();
    for (const types of [['zerda.thing.made.v1'], ['zerda.thing.made.v1', 'zerda.other.made.v1']]) {
      const end = await openTransport({ servers: nats.url }, 'receiver');
      end.subscribe({ ...receiver, types });
      for (const type of types) {
        const event = { ...testEvent(), type };
        await sendWithRetries(sender, event);
        await eventually(() => received.includes(event.text), type);
      }
      await end.close();
    }
    assert.equal(received.length, 3, 'acknowledged events are not redelivered');
  });

  it('detects a dead connection and reconnects', async (context) => {
    const nats = await startNats();
    const relay = await startSilentRelay(nats.url);
    const [sender, receiver] = await Promise.all(
      ['sender', 'receiver'].map((name) => openTransport({ servers: relay.url }, name)),
    );
    context.after(async () => {
      await Promise.all([sender?.close(), receiver?.close()]);
      relay.close();
      await nats.stop();
    });
    assert.ok(sender !== undefined && receiver !== undefined);
    const { receiver: scripted, received } = scriptedReceiver();
    receiver.subscribe(scripted);
    await sendWithRetries(sender, testEvent());
    await eventually(() => received.length === 1);
    relay.silence();
    await assert.rejects(sender.send(testEvent()), { kind: 'unavailable' });
    const event = testEvent();
    await sendWithRetries(sender, event);
    await eventually(() => received.includes(event.text));
  });

  it('delivers each event to one replica', async (context) => {
    const nats = await startNats();
    const sender = await openTransport({ servers: nats.url }, 'sender');
    const ends = await Promise.all([1, 2].map(() => openTransport({ servers: nats.url }, 'receiver')));
    context.after(async () => {
      await Promise.all([sender, ...ends].map((end) => end.close()));
      await nats.stop();
    });
    const received = ends.map((end) => {
      const scripted = scriptedReceiver();
      end.subscribe(scripted.receiver);
      return scripted.received;
    });
    const events = Array.from({ length: 400 }, () => testEvent());
    await Promise.all(events.map((event) => sendWithRetries(sender, event)));
    await eventually(() => received.flat().length >= events.length);
    assert.equal(new Set(received.flat()).size, received.flat().length);
  });

  it('connects with user and password, and is unavailable without', async (context) => {
    const nats = await startNats({ args: ['--user', 'zerda', '--pass', 'secret'] });
    const unauthenticated = await openTransport({ servers: nats.url }, 'unauthenticated');
    const sender = await openTransport({ servers: nats.url, user: 'zerda', password: 'secret' }, 'sender');
    context.after(async () => {
      await Promise.all([sender.close(), unauthenticated.close()]);
      await nats.stop();
    });
    await sendWithRetries(sender, testEvent());
    await assert.rejects(unauthenticated.send(testEvent()), { kind: 'unavailable' });
  });

  it('throws StartupError if the credentials file cannot be read', async () => {
    const opening = openTransport(
      { servers: 'nats://127.0.0.1:1', credentialsFile: '/no/such/file' },
      'sender',
    );
    await assert.rejects(opening, { name: 'StartupError', exitCode: 78 });
  });

  it('verifies the TLS certificate of the server', async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-tls-'));
    context.after(() => rm(folder, { recursive: true, force: true }));
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const openssl = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '1'];
    try {
      await promisify(execFile)('openssl', [...openssl, '-keyout', key, '-out', cert, ...subject]);
    } catch {
      return context.skip('openssl was not found on this machine');
    }
    const nats = await startNats({ args: ['--tls', '--tlscert', cert, '--tlskey', key] });
    const servers = nats.url.replace('nats://127.0.0.1', 'tls://localhost');
    const withCa = await openTransport({ servers, caFile: cert }, 'withCa');
    const withoutCa = await openTransport({ servers }, 'withoutCa');
    context.after(async () => {
      await Promise.all([withCa.close(), withoutCa.close()]);
      await nats.stop();
    });
    await sendWithRetries(withCa, testEvent());
    await assert.rejects(withoutCa.send(testEvent()), { kind: 'unavailable' });
  });
});

describe('filterOf', () => {
  const cases: [types: string[], filter: string][] = [
    [[], 'zerda.>'],
    [['zerda.user.created.v1'], 'zerda.user.created.v1'],
    [['zerda.user.created.v1', 'zerda.user.deleted.v1'], 'zerda.user.>'],
    [['zerda.user.created.v1', 'zerda.order.created.v1'], 'zerda.>'],
    [['zerda.user.created.v1', 'zerda.user.created.v2'], 'zerda.user.created.>'],
  ];
  for (const [types, filter] of cases) {
    it(`returns ${filter} for ${types.join(' and ') || 'no types'}`, () =>
      assert.equal(filterOf(types, 'zerda'), filter));
  }
});
