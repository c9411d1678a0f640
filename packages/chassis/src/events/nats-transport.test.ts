import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { silentLogger, testMetrics } from '../testing.ts';
import { startSilentRelay } from '../testing-relay.ts';
import type { NatsAccess } from './nats-connection.ts';
import { filterOf } from './nats-stream.ts';
import { createNatsTransport } from './nats-transport.ts';
import { describeOnNats, startNats, type TestNats } from './testing-nats.ts';
import {
  anEvent,
  itMovesEvents,
  scriptedReceiver,
  sendUntilTaken,
  until,
  type Way,
} from './testing-transport.ts';
import type { EventTransport } from './transport.ts';

const logger = silentLogger();
const secrets = ['a secret of at least thirty-two characters'];

async function started(args: readonly string[] = []): Promise<TestNats> {
  const nats = await startNats({ args });
  if (nats === undefined) throw new Error('there is no nats-server');
  return nats;
}

function open(access: NatsAccess, service: string): Promise<EventTransport> {
  return createNatsTransport({
    ...{ access, service, prefix: 'zerda', secrets, logger, timeoutMs: 500, ackWaitMs: 2000 },
    metrics: testMetrics().events,
  });
}

async function openWay(): Promise<Way> {
  const nats = await started();
  return {
    sender: () => open({ servers: nats.url }, 'sender'),
    receiver: () => open({ servers: nats.url }, 'receiver'),
    breakOff: () => nats.kill(),
    mend: () => nats.start(),
    close: () => nats.stop(),
  };
}

await describeOnNats('events', () => itMovesEvents(openWay));

await describeOnNats('a transport by JetStream', () => {
  it('starts without the server, which may come later', async (context) => {
    const nats = await started();
    context.after(() => nats.stop());
    await nats.kill();
    const sender = await open({ servers: nats.url }, 'sender');
    const receiver = await open({ servers: nats.url }, 'receiver');
    context.after(() => Promise.all([sender.close(), receiver.close()]));
    const { receiver: scripted, came } = scriptedReceiver();
    receiver.subscribe(scripted);
    await assert.rejects(sender.send(anEvent()), { kind: 'unavailable' });
    await nats.start();
    const event = anEvent();
    await sendUntilTaken(sender, event);
    await until(() => came.includes(event.text));
  });

  it('makes stream and consumer again when the server has lost them', async (context) => {
    const nats = await started();
    const sender = await open({ servers: nats.url }, 'sender');
    const receiver = await open({ servers: nats.url }, 'receiver');
    context.after(async () => {
      await Promise.all([sender.close(), receiver.close()]);
      await nats.stop();
    });
    const { receiver: scripted, came } = scriptedReceiver();
    receiver.subscribe(scripted);
    await sendUntilTaken(sender, anEvent());
    await until(() => came.length === 1);
    const admin = await connect({ servers: nats.url });
    await (await jetstreamManager(admin)).streams.delete('ZERDA');
    await admin.close();
    const event = anEvent();
    await sendUntilTaken(sender, event);
    await until(() => came.includes(event.text));
  });

  it('stores an event once that is sent twice', async (context) => {
    const nats = await started();
    const sender = await open({ servers: nats.url }, 'sender');
    const admin = await connect({ servers: nats.url });
    context.after(async () => {
      await sender.close();
      await admin.close();
      await nats.stop();
    });
    const event = anEvent();
    await sendUntilTaken(sender, event);
    await sender.send(event);
    const { state, config } = await (await jetstreamManager(admin)).streams.info('ZERDA');
    assert.deepEqual([state.messages, config.subjects], [1, ['zerda.>']]);
  });

  it('hears what it is to hear now, though the consumer was made for less', async (context) => {
    const nats = await started();
    context.after(() => nats.stop());
    const sender = await open({ servers: nats.url }, 'sender');
    context.after(() => sender.close());
    const { receiver, came } = scriptedReceiver();
    for (const types of [['zerda.thing.made.v1'], ['zerda.thing.made.v1', 'zerda.other.made.v1']]) {
      const end = await open({ servers: nats.url }, 'receiver');
      end.subscribe({ ...receiver, types });
      for (const type of types) {
        const event = { ...anEvent(), type };
        await sendUntilTaken(sender, event);
        await until(() => came.includes(event.text), type);
      }
      await end.close();
    }
    assert.equal(came.length, 3, 'what was acknowledged does not come again');
  });

  it('finds out that the server is gone without a word, and connects anew', async (context) => {
    const nats = await started();
    const relay = await startSilentRelay(nats.url);
    const [sender, receiver] = await Promise.all(
      ['sender', 'receiver'].map((name) => open({ servers: relay.url }, name)),
    );
    context.after(async () => {
      await Promise.all([sender?.close(), receiver?.close()]);
      relay.close();
      await nats.stop();
    });
    assert.ok(sender !== undefined && receiver !== undefined);
    const { receiver: scripted, came } = scriptedReceiver();
    receiver.subscribe(scripted);
    await sendUntilTaken(sender, anEvent());
    await until(() => came.length === 1);
    relay.silence();
    await assert.rejects(sender.send(anEvent()), { kind: 'unavailable' });
    const event = anEvent();
    await sendUntilTaken(sender, event);
    await until(() => came.includes(event.text));
  });

  it('shares events among replicas, each to one of them', async (context) => {
    const nats = await started();
    const sender = await open({ servers: nats.url }, 'sender');
    const ends = await Promise.all([1, 2].map(() => open({ servers: nats.url }, 'receiver')));
    context.after(async () => {
      await Promise.all([sender, ...ends].map((end) => end.close()));
      await nats.stop();
    });
    const came = ends.map((end) => {
      const scripted = scriptedReceiver();
      end.subscribe(scripted.receiver);
      return scripted.came;
    });
    const events = Array.from({ length: 400 }, () => anEvent());
    await Promise.all(events.map((event) => sendUntilTaken(sender, event)));
    await until(() => came.flat().length >= events.length);
    assert.equal(new Set(came.flat()).size, came.flat().length);
  });

  it('enters with a user and a password, and waits without', async (context) => {
    const nats = await started(['--user', 'zerda', '--pass', 'secret']);
    const stranger = await open({ servers: nats.url }, 'stranger');
    const sender = await open({ servers: nats.url, user: 'zerda', password: 'secret' }, 'sender');
    context.after(async () => {
      await Promise.all([sender.close(), stranger.close()]);
      await nats.stop();
    });
    await sendUntilTaken(sender, anEvent());
    await assert.rejects(stranger.send(anEvent()), { kind: 'unavailable' });
  });

  it('says that a file with credentials cannot be read', async () => {
    const opening = open({ servers: 'nats://127.0.0.1:1', credentialsFile: '/no/such/file' }, 'sender');
    await assert.rejects(opening, { name: 'StartupError', exitCode: 78 });
  });

  it('checks the certificate of the server with TLS', async (context) => {
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
    const nats = await started(['--tls', '--tlscert', cert, '--tlskey', key]);
    const servers = nats.url.replace('nats://127.0.0.1', 'tls://localhost');
    const trusting = await open({ servers, caFile: cert }, 'trusting');
    const doubting = await open({ servers }, 'doubting');
    context.after(async () => {
      await Promise.all([trusting.close(), doubting.close()]);
      await nats.stop();
    });
    await sendUntilTaken(trusting, anEvent());
    await assert.rejects(doubting.send(anEvent()), { kind: 'unavailable' });
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
    it(`of ${types.join(' and ') || 'nothing'} is ${filter}`, () =>
      assert.equal(filterOf(types, 'zerda'), filter));
  }
});
