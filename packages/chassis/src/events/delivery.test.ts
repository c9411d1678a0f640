import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import { describeOnEachEngine, type OpenDatabase } from '../database/testing.ts';
import { silentLogger, testMetrics } from '../testing.ts';
import { createEventSink } from './event-sink.ts';
import { createHttpTransport } from './http-transport.ts';
import { createNatsTransport } from './nats-transport.ts';
import { wakingAfterCommit } from './outbox.ts';
import { createReceiver, on } from './receiver.ts';
import { startRelay } from './relay.ts';
import { describeOnNats, startNats } from './testing-nats.ts';
import { createThings, eventTables, heard, hearing, makeThing, rowsIn, thingMade } from './testing-things.ts';
import { until } from './testing-transport.ts';
import { type EventReceiver, type EventTransport, SendError } from './transport.ts';

/** Both ends of a transport, made anew for each test. */
type Ends = (context: TestContext) => Promise<{
  sender(): Promise<EventTransport>;
  receiver(): Promise<EventTransport>;
}>;

const logger = silentLogger();
const secrets = ['a secret of at least thirty-two characters'];
const quick = { baseMs: 5, maxMs: 50 };

async function byHttp(context: TestContext): ReturnType<Ends> {
  const sink = createEventSink({ secrets, logger, metrics: testMetrics().events });
  const server = createServer(sink.listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    sender: async () => createHttpTransport({ sinks: [url], secrets }),
    receiver: async () => createHttpTransport({ sinks: [], secrets, sink }),
  };
}

async function byNats(context: TestContext): ReturnType<Ends> {
  const nats = await startNats();
  if (nats === undefined) throw new Error('there is no nats-server');
  context.after(() => nats.stop());
  const open = (service: string) =>
    createNatsTransport({
      ...{ access: { servers: nats.url }, service, prefix: 'zerda', secrets, logger, ackWaitMs: 1000 },
      metrics: testMetrics().events,
    });
  return { sender: () => open('sender'), receiver: () => open('receiver') };
}

/** A service that sends and one that hears, each with its own database. */
async function openServices(context: TestContext, open: OpenDatabase, ends: Ends) {
  const [sending, hearingDatabase] = [await open(), await open()];
  await createThings(sending);
  await createThings(hearingDatabase);
  const { sender, receiver } = await ends(context);
  const opened = [await sender(), await receiver()] as const;
  const closes: (() => Promise<void>)[] = [];
  context.after(async () => {
    for (const close of closes.reverse()) await close();
    await opened[0].close();
    await opened[1].close();
  });

  /** A replica of the sender; `through` may spoil what it sends. */
  function relay(through: EventTransport['send'] = opened[0].send, leaseMs = 30_000) {
    const started = startRelay({
      ...{ database: sending, transport: { send: through }, logger, metrics: testMetrics().events, leaseMs },
      ...{ pollMs: 50, eventBackoff: quick, wayBackoff: quick },
    });
    closes.push(started.stop);
    return started;
  }
  return { sending, hearing: hearingDatabase, transport: opened[0], listen: opened[1], relay };
}

function receiverOf(database: Database, subscription = hearing): EventReceiver {
  const metrics = testMetrics().events;
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

/** What every transport has to do together with outbox and inbox. */
function itDeliversOnceInOrder(open: OpenDatabase, ends: Ends): void {
  it('has each event applied once and in order, though ways break, acknowledgements get lost and two replicas send', async (context) => {
    const { sending, hearing: database, transport, listen, relay } = await openServices(context, open, ends);
    listen.subscribe(
      receiverOf(
        database,
        on(thingMade, async (tx, event) => {
          await hearing.handle(tx, event as never);
          if (Math.random() < 0.03) throw new Error('the handler stumbled');
          return undefined;
        }),
      ),
    );
    let repeated = 0;
    const spoilt: EventTransport['send'] = async (event) => {
      if (Math.random() < 0.1) throw new SendError('unavailable', 'reset before it was sent');
      await transport.send(event);
      if (Math.random() < 0.1) {
        repeated += 1;
        throw new SendError('unavailable', 'the acknowledgement was lost');
      }
    };
    const [first] = [relay(spoilt), relay(spoilt)];
    const waking = wakingAfterCommit(sending, first.wake);
    const subjects = 6;
    const perSubject = 12;
    await Promise.all(
      Array.from({ length: subjects }, async (_, id) => {
        for (let count = 0; count < perSubject; count += 1) await makeThing(waking, id);
      }),
    );
    await until(async () => {
      const versions = Object.values(await lastVersions(database));
      return versions.length === subjects && versions.every((version) => version === perSubject);
    }, 'the last version of every thing');
    assert.ok(repeated > 0, 'nothing was sent twice, so nothing was tried');
    const rows = await heard(database);
    for (let id = 0; id < subjects; id += 1) {
      const versions = rows.filter((row) => row.id === id).map(({ version }) => version);
      assert.deepEqual(
        versions,
        [...new Set(versions)].toSorted((a, b) => a - b),
        `thing ${id}`,
      );
    }
    // Every event comes, also one that had failed while newer ones were applied: what is not applied then is older than those.
    const dealtWith = async () => {
      const [counted] = await rowsIn<{ applied: number; late: number; dead: number }>(
        database,
        sql`select count(*) filter (where applied) as applied, count(*) filter (where not applied) as late,
          (select count(*) from dead_letters) as dead from inbox`,
      );
      return counted ?? { applied: 0, late: 0, dead: 0 };
    };
    await until(async () => {
      const { applied, late, dead } = await dealtWith();
      return applied + late + dead === subjects * perSubject;
    }, 'every event');
    assert.equal((await dealtWith()).applied, (await heard(database)).length);
  });

  it('suppresses what a relay sends again that was paused beyond its lease', async (context) => {
    const { sending, hearing: database, transport, listen, relay } = await openServices(context, open, ends);
    listen.subscribe(receiverOf(database));
    let wakeUp = (): void => undefined;
    const paused = new Promise<void>((resolve) => {
      wakeUp = resolve;
    });
    let hasIt = false;
    let late: Promise<void> | undefined;
    await makeThing(sending, 1, 'first');
    const asleep = relay(async (event) => {
      if (hasIt) return transport.send(event);
      hasIt = true;
      await paused;
      late = transport.send({ ...event, id: `${event.id}` });
      await late;
    }, 150);
    await until(() => hasIt);
    await makeThing(sending, 1, 'second');
    const awake = relay();
    awake.wake();
    await until(async () => (await lastVersions(database))['things/1'] === 2, 'both events');
    wakeUp();
    await until(() => late !== undefined);
    await late;
    await asleep.stop();
    assert.deepEqual(
      (await heard(database)).map(({ text }) => text),
      ['first', 'second'],
    );
    const [left] = await rowsIn<{ n: number }>(
      sending,
      sql`select count(*) as n from outbox where sent_at is null`,
    );
    assert.equal(left?.n, 0);
  });

  it('gives up an event whose handler always fails, and delivers the others', async (context) => {
    const { sending, hearing: database, listen, relay } = await openServices(context, open, ends);
    listen.subscribe(
      receiverOf(
        database,
        on(thingMade, (tx, event) =>
          event.data.text === 'poison'
            ? Promise.reject(new Error('cannot'))
            : hearing.handle(tx, event as never),
        ),
      ),
    );
    relay();
    await makeThing(sending, 1, 'poison');
    await makeThing(sending, 2, 'two');
    await until(async () => (await heard(database)).length === 1);
    const letters = () => rowsIn(database, sql`select side, subject, error, attempts from dead_letters`);
    await until(async () => (await letters()).length === 1, 'a dead letter');
    assert.deepEqual(await letters(), [
      { side: 'receiving', subject: 'things/1', error: 'cannot', attempts: 4 },
    ]);
    await makeThing(sending, 1, 'well');
    await until(async () => (await heard(database)).some(({ text }) => text === 'well'));
  });
}

describeOnEachEngine('delivery by HTTP', { migrations: eventTables }, (open) =>
  itDeliversOnceInOrder(open, byHttp),
);

await describeOnNats('delivery', () => {
  describe('events', () => {
    describeOnEachEngine('delivery', { migrations: eventTables }, (open) =>
      itDeliversOnceInOrder(open, byNats),
    );
  });
});
