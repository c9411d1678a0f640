import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, it, type TestContext } from 'node:test';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import { sql } from 'drizzle-orm';
import type { Database } from '../database/database.ts';
import { openTestPglite } from '../database/testing.ts';
import { recordingLogger, silentLogger, testMetrics } from '../testing.ts';
import { createNatsTransport, type NatsTransportOptions } from './nats-transport.ts';
import { createReceiver } from './receiver.ts';
import { sign, signatureHeader, signMessage } from './signature.ts';
import { describeOnNats, type StreamView, startNats, type TestNats, viewStream } from './testing-nats.ts';
import { createThings, eventTables, heard, hearing, rowsIn } from './testing-things.ts';
import { anEvent, sendUntilTaken, until } from './testing-transport.ts';
import type { EventTransport } from './transport.ts';

const [old, current, next] = ['old', 'current', 'next'].map(
  (word) => `the ${word} secret of thirty-two characters`,
) as [string, string, string];

/** A number of events since the last test. */
type Counts = Readonly<Record<'unsigned' | 'invalid' | 'accepted', number>>;

await describeOnNats('events over NATS with EVENT_SECRET', () => {
  let nats: TestNats;
  let database: Database;
  let client: NatsConnection;
  let view: StreamView;

  before(async () => {
    const started = await startNats();
    assert.ok(started);
    nats = started;
    database = await openTestPglite(eventTables);
    await createThings(database);
    client = await connect({ servers: nats.url });
    view = await viewStream(nats.url, 'ZERDA');
  });
  after(async () => {
    await view?.close();
    await client?.close();
    await database?.close();
    await nats?.stop();
  });

  async function open(
    context: TestContext,
    options: Partial<NatsTransportOptions> & Pick<NatsTransportOptions, 'service' | 'secrets'>,
  ): Promise<EventTransport> {
    const transport = await createNatsTransport({
      ...{ access: { servers: nats.url }, prefix: 'zerda', timeoutMs: 1000, ackWaitMs: 1000 },
      ...{ logger: silentLogger(), metrics: testMetrics().events },
      ...options,
    });
    context.after(() => transport.close());
    return transport;
  }

  const send = async (context: TestContext, secrets: readonly string[], event = aThing()) => {
    await sendUntilTaken(await open(context, { service: 'sender', secrets }), event);
    return event;
  };

  /** A service that hears things, with a consumer of its own; what it has heard it writes into the one database. */
  async function hearer(
    context: TestContext,
    {
      secrets = [current],
      service = `hearer-${randomUUID()}`,
      acceptUnsigned = false,
    }: Partial<NatsTransportOptions> = {},
  ) {
    const metrics = testMetrics();
    const { logger, lines } = recordingLogger();
    const transport = await open(context, {
      ...{ service, secrets, acceptUnsigned, logger, metrics: metrics.events },
    });
    transport.subscribe(
      createReceiver({ database, subscriptions: [hearing], logger, metrics: metrics.events }),
    );
    return {
      ...{ service, lines },
      close: () => transport.close(),
      async counts(): Promise<Counts> {
        const { body } = await metrics.render();
        const read = (name: string) =>
          Number(
            body
              .split('\n')
              .find((line) => line.startsWith(`${name} `))
              ?.split(' ')[1],
          );
        return {
          unsigned: read('events_rejected_total{transport="nats",reason="unsigned"}'),
          invalid: read('events_rejected_total{transport="nats",reason="invalid"}'),
          accepted: read('events_accepted_unsigned_total'),
        };
      },
      /** Waits until the server has nothing left to hand out, nor waits for an acknowledgement; returns the deliveries. */
      async drained(): Promise<number> {
        let deliveries = 0;
        await until(async () => {
          const consumer = await view.consumer(service).catch(() => undefined);
          deliveries = consumer?.deliveries ?? 0;
          return deliveries > 0 && consumer?.pending === 0 && consumer.inHand === 0;
        }, 'an idle consumer');
        return deliveries;
      },
      times: async ({ subject }: { subject: string }) =>
        (await heard(database)).filter(({ id }) => subject === `things/${id}`).length,
    };
  }

  /** A message as any client of the server may publish it. */
  const publish = (subject: string, text: string, signature?: string): Promise<unknown> => {
    const sent = headers();
    if (signature !== undefined) sent.set(signatureHeader, signature);
    return jetstream(client).publish(subject, text, { headers: sent });
  };

  const letters = () => rowsIn(database, sql`select event_id from dead_letters`);

  it('have no effect when the signature is missing or not of this message, and do not come again', async (context) => {
    await send(context, [current]);
    await view.purge();
    const receiver = await hearer(context);
    const forged: [what: string, signature: (subject: string, text: string) => string | undefined][] = [
      ['no signature', () => undefined],
      ['an empty one', () => ''],
      ['another secret', (subject, text) => signMessage(subject, text, [next])],
      ['the secret before', (subject, text) => signMessage(subject, text, [old])],
      ['another body', (subject, text) => signMessage(subject, `${text} `, [current])],
      ['another subject', (_, text) => signMessage('zerda.thing.unmade.v1', text, [current])],
      ['a request over HTTP', (_, text) => sign(text, [current])],
      ['a request over HTTP, renamed', (_, text) => sign(text, [current]).replace('v1=', 'nats1=')],
      [
        'a request with the text of a message',
        (subject, text) => sign(`nats\n${subject}\n${text}`, [current]),
      ],
      ['half of one', (subject, text) => signMessage(subject, text, [current]).slice(0, -32)],
      ['no digits', () => `nats1=${'z'.repeat(64)}`],
      ['a name alone', () => 'nats1'],
    ];
    const events = forged.map(() => aThing());
    for (const [index, [, signature]] of forged.entries()) {
      const { type, text } = events[index] as (typeof events)[number];
      await publish(type, text, signature(type, text));
    }
    const genuine = await send(context, [current]);
    await until(async () => (await receiver.times(genuine)) === 1, 'the genuine event');
    assert.equal(await receiver.drained(), forged.length + 1, 'each was delivered once');
    for (const [index, [what]] of forged.entries()) {
      assert.equal(await receiver.times(events[index] as (typeof events)[number]), 0, what);
    }
    assert.deepEqual(await receiver.counts(), { unsigned: 2, invalid: forged.length - 2, accepted: 0 });
    assert.deepEqual(await letters(), []);
    assert.deepEqual(
      receiver.lines.filter(({ level }) => level === 'warn').map(({ msg, reason }) => [msg, reason]),
      [['event without a valid signature rejected', 'unsigned']],
      'one line for all of them',
    );
  });

  it('have no effect when they are no events and not signed, nor are they stored', async (context) => {
    await send(context, [current]);
    await view.purge();
    const receiver = await hearer(context);
    for (let count = 0; count < 500; count += 1) void publish('zerda.thing.made.v1', `no event ${count}`);
    await until(async () => (await receiver.counts()).unsigned === 500, 'every forged message');
    const genuine = await send(context, [current]);
    await until(async () => (await receiver.times(genuine)) === 1, 'the genuine event');
    assert.equal(await receiver.drained(), 501);
    assert.deepEqual(await letters(), []);
  });

  it('are applied while a secret is replaced, whichever service has the new one first', async (context) => {
    const generations = [[old], [current, old], [current]];
    for (const [index, sending] of generations.entries()) {
      for (const [other, receiving] of generations.entries()) {
        const event = await send(context, sending);
        const receiver = await hearer(context, { secrets: receiving });
        await receiver.drained();
        await receiver.close();
        assert.equal(
          await receiver.times(event),
          Math.abs(index - other) > 1 ? 0 : 1,
          `${index} to ${other}`,
        );
        await view.purge();
      }
    }
  });

  it('are applied once when copies come at the same time, to two replicas', async (context) => {
    await send(context, [current]);
    await view.purge();
    const service = `hearer-${randomUUID()}`;
    const receiver = await hearer(context, { service });
    await hearer(context, { service });
    const events = Array.from({ length: 20 }, () => aThing());
    await Promise.all(
      events.flatMap(({ type, text }) =>
        Array.from({ length: 5 }, () => publish(type, text, signMessage(type, text, [current]))),
      ),
    );
    assert.equal(await receiver.drained(), 100);
    for (const event of events) assert.equal(await receiver.times(event), 1);
  });

  it('are applied without a signature, and counted, when that is allowed; a wrong one is not', async (context) => {
    await send(context, [current]);
    await view.purge();
    const receiver = await hearer(context, { acceptUnsigned: true });
    const [unsigned, forged] = [aThing(), aThing()];
    await publish(unsigned.type, unsigned.text);
    await publish(forged.type, forged.text, signMessage(forged.type, forged.text, [next]));
    const genuine = await send(context, [current]);
    await receiver.drained();
    const times = await Promise.all([unsigned, forged, genuine].map(receiver.times));
    assert.deepEqual(times, [1, 0, 1]);
    assert.deepEqual(await receiver.counts(), { unsigned: 0, invalid: 1, accepted: 1 });
  });

  it('are applied later although they were rejected: without its consumer a service reads the stream again', async (context) => {
    const event = await send(context, [next]);
    const mistaken = await hearer(context, { secrets: [current] });
    await mistaken.drained();
    await mistaken.close();
    assert.equal(await mistaken.times(event), 0);
    const corrected = await hearer(context, { service: mistaken.service, secrets: [next, current] });
    // Of a file that is written just then nats-server 2.9 says that it cannot be removed, and has removed the consumer all the same.
    const manager = await jetstreamManager(client);
    await manager.consumers.delete('ZERDA', mistaken.service).catch(() => undefined);
    await until(async () => (await corrected.times(event)) === 1, 'the event');
  });

  it('are refused at once when they are too long with their headers', async (context) => {
    const sender = await open(context, { service: 'sender', secrets: [current] });
    const max = client.info?.max_payload ?? 0;
    const event = aThing();
    const padded = (length: number) => ({ ...event, text: event.text.padEnd(length) });
    await sendUntilTaken(sender, padded(max - 1024));
    await assert.rejects(sendUntilTaken(sender, padded(max - 10)), { name: 'SendError', kind: 'refused' });
  });
});

let things = 0;

/** An event about a thing that no other event of this run is about. */
function aThing() {
  things += 1;
  const event = anEvent(`things/${things}`);
  const value = JSON.parse(event.text);
  return { ...event, text: JSON.stringify({ ...value, data: { ...value.data, id: things } }) };
}
