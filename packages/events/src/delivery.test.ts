import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine, type OpenDatabase } from '@zerda/chassis/testing/database';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { createGate, silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import { sql } from 'drizzle-orm';
import { describeOnNats, startNats } from '../testing/nats.ts';
import {
  createThingTables,
  eventTables,
  makeThing,
  receivedThings,
  recordThing,
  rowsIn,
  thingMade,
} from '../testing/things.ts';
import { eventMetrics } from './event-metrics.ts';
import { createEventSink } from './event-sink.ts';
import { createHttpTransport } from './http-transport.ts';
import { createNatsTransport } from './nats-transport.ts';
import { wakingAfterCommit } from './outbox.ts';
import { createReceiver, onEvent } from './receiver.ts';
import { startRelay } from './relay.ts';
import { type EventReceiver, type EventTransport, SendError } from './transport.ts';

/** Creates both sides of a transport for one test. */
type Ends = (context: TestContext) => Promise<{
  sender(): Promise<EventTransport>;
  receiver(): Promise<EventTransport>;
}>;

const logger = silentLogger();
const secrets = ['a secret of at least thirty-two characters'];
const quick = { baseMs: 5, maxMs: 50 };

async function byHttp(context: TestContext): ReturnType<Ends> {
  const sink = createEventSink({ secrets, logger, metrics: eventMetrics(testMetrics().registry) });
  const { url } = await startHttpServer(context, sink.listener);
  return {
    sender: async () => createHttpTransport({ sinks: [url], secrets }),
    receiver: async () => createHttpTransport({ sinks: [], secrets, sink }),
  };
}

async function byNats(context: TestContext): ReturnType<Ends> {
  const nats = await startNats();
  context.after(() => nats.stop());
  const openTransport = (service: string) =>
    createNatsTransport({
      access: { servers: nats.url },
      service,
      prefix: 'zerda',
      secrets,
      logger,
      ackWaitMs: 1000,
      metrics: eventMetrics(testMetrics().registry),
    });
  return { sender: () => openTransport('sender'), receiver: () => openTransport('receiver') };
}

/** Creates a sending and a receiving service, each with its own database. */
async function openServices(context: TestContext, openDatabase: OpenDatabase, ends: Ends) {
  const [sending, receivingDatabase] = [await openDatabase(), await openDatabase()];
  await createThingTables(sending);
  await createThingTables(receivingDatabase);
  const { sender, receiver } = await ends(context);
  const opened = [await sender(), await receiver()] as const;
  const closes: (() => Promise<void>)[] = [];
  context.after(async () => {
    for (const close of closes.reverse()) await close();
    await opened[0].close();
    await opened[1].close();
  });

  /** Starts a relay of the sender; `through` may inject failures. */
  function relay(through: EventTransport['send'] = opened[0].send, leaseMs = 30_000) {
    const started = startRelay({
      database: sending,
      transport: { send: through },
      logger,
      metrics: eventMetrics(testMetrics().registry),
      leaseMs,
      pollMs: 50,
      eventBackoff: quick,
      transportBackoff: quick,
    });
    closes.push(started.stop);
    return started;
  }
  return { sending, receiving: receivingDatabase, transport: opened[0], listen: opened[1], relay };
}

function receiverOf(database: Database, subscription = recordThing): EventReceiver {
  const metrics = eventMetrics(testMetrics().registry);
  return createReceiver({
    database,
    subscriptions: [subscription],
    logger,
    metrics,
    backoff: quick,
    maxFailures: 4,
  });
}

async function lastVersions(database: Database): Promise<Record<string, number>> {
  const rows = await rowsIn<{ subject: string; version: number }>(
    database,
    sql`select subject, version from inbox_subjects order by subject`,
  );
  return Object.fromEntries(rows.map(({ subject, version }) => [subject, version]));
}

/** Defines the tests that every transport must pass together with outbox and inbox. */
function itDeliversOnceInOrder(openDatabase: OpenDatabase, ends: Ends): void {
  it('applies each event once and in order despite disconnects, lost acknowledgments and two replicas', async (context) => {
    const {
      sending,
      receiving: database,
      transport,
      listen,
      relay,
    } = await openServices(context, openDatabase, ends);
    listen.subscribe(
      receiverOf(
        database,
        onEvent(thingMade, async (tx, event) => {
          await recordThing.handle(tx, event as never);
          if (Math.random() < 0.03) throw new Error('handler failed');
          return undefined;
        }),
      ),
    );
    let repeated = 0;
    const flakySend: EventTransport['send'] = async (event) => {
      if (Math.random() < 0.1) throw new SendError('unavailable', 'reset before send');
      await transport.send(event);
      if (Math.random() < 0.1) {
        repeated += 1;
        throw new SendError('unavailable', 'acknowledgment lost');
      }
    };
    const [first] = [relay(flakySend), relay(flakySend)];
    const waking = wakingAfterCommit(sending, first.wake);
    const subjects = 6;
    const perSubject = 12;
    await Promise.all(
      Array.from({ length: subjects }, async (_, id) => {
        for (let count = 0; count < perSubject; count += 1) await makeThing(waking, id);
      }),
    );
    await eventually(async () => {
      const versions = Object.values(await lastVersions(database));
      return versions.length === subjects && versions.every((version) => version === perSubject);
    }, 'the last version of every thing');
    assert.ok(repeated > 0, 'no event was sent twice');
    const rows = await receivedThings(database);
    for (let id = 0; id < subjects; id += 1) {
      const versions = rows.filter((row) => row.id === id).map(({ version }) => version);
      assert.deepEqual(
        versions,
        [...new Set(versions)].toSorted((a, b) => a - b),
        `thing ${id}`,
      );
    }
    // Every event arrives, also one that failed while newer ones were applied. Events that are not applied are older.
    const counts = async () => {
      const [counted] = await rowsIn<{ applied: number; late: number; dead: number }>(
        database,
        sql`select count(*) filter (where applied) as applied, count(*) filter (where not applied) as late,
          (select count(*) from dead_letters) as dead from inbox`,
      );
      return counted ?? { applied: 0, late: 0, dead: 0 };
    };
    await eventually(async () => {
      const { applied, late, dead } = await counts();
      return applied + late + dead === subjects * perSubject;
    }, 'every event');
    assert.equal((await counts()).applied, (await receivedThings(database)).length);
  });

  it('ignores a repeat from a relay that was suspended beyond its lease', async (context) => {
    const {
      sending,
      receiving: database,
      transport,
      listen,
      relay,
    } = await openServices(context, openDatabase, ends);
    listen.subscribe(receiverOf(database));
    const resumed = createGate();
    let claimedByPaused = false;
    let late: Promise<void> | undefined;
    await makeThing(sending, 1, 'first');
    const pausedRelay = relay(async (event) => {
      if (claimedByPaused) return transport.send(event);
      claimedByPaused = true;
      await resumed.pass();
      late = transport.send({ ...event, id: `${event.id}` });
      await late;
    }, 150);
    await eventually(() => claimedByPaused);
    await makeThing(sending, 1, 'second');
    const activeRelay = relay();
    activeRelay.wake();
    await eventually(async () => (await lastVersions(database))['things/1'] === 2, 'both events');
    resumed.open();
    await eventually(() => late !== undefined);
    await late;
    await pausedRelay.stop();
    assert.deepEqual(
      (await receivedThings(database)).map(({ text }) => text),
      ['first', 'second'],
    );
    const [unsent] = await rowsIn<{ n: number }>(
      sending,
      sql`select count(*) as n from outbox where sent_at is null`,
    );
    assert.equal(unsent?.n, 0);
  });

  it('dead-letters an event whose handler always fails and delivers the others', async (context) => {
    const { sending, receiving: database, listen, relay } = await openServices(context, openDatabase, ends);
    listen.subscribe(
      receiverOf(
        database,
        onEvent(thingMade, (tx, event) =>
          event.data.text === 'poison'
            ? Promise.reject(new Error('cannot'))
            : recordThing.handle(tx, event as never),
        ),
      ),
    );
    relay();
    await makeThing(sending, 1, 'poison');
    await makeThing(sending, 2, 'two');
    await eventually(async () => (await receivedThings(database)).length === 1);
    const letters = () => rowsIn(database, sql`select side, subject, error, attempts from dead_letters`);
    await eventually(async () => (await letters()).length === 1, 'a dead letter');
    assert.deepEqual(await letters(), [
      { side: 'receiving', subject: 'things/1', error: 'cannot', attempts: 4 },
    ]);
    await makeThing(sending, 1, 'well');
    await eventually(async () => (await receivedThings(database)).some(({ text }) => text === 'well'));
  });
}

describeOnEachEngine('delivery over HTTP', { migrations: eventTables }, (openDatabase) =>
  itDeliversOnceInOrder(openDatabase, byHttp),
);

await describeOnNats('delivery', () => {
  describe('events', () => {
    describeOnEachEngine('delivery', { migrations: eventTables }, (openDatabase) =>
      itDeliversOnceInOrder(openDatabase, byNats),
    );
  });
});
