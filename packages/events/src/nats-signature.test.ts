import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, it, type TestContext } from 'node:test';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import { sign, signatureHeader, signMessage } from '@zerda/chassis/auth/signature';
import type { Database } from '@zerda/chassis/database/database';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { recordingLogger, silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import type { ServerProcess } from '@zerda/chassis/testing/server';
import { eventually } from '@zerda/chassis/testing/wait';
import { sql } from 'drizzle-orm';
import { describeOnNats, type StreamView, startNats, viewStream } from '../testing/nats.ts';
import { createThingTables, eventTables, receivedThings, recordThing, rowsIn } from '../testing/things.ts';
import { sendWithRetries, testEvent } from '../testing/transport.ts';
import { eventMetrics } from './event-metrics.ts';
import { createNatsTransport, type NatsTransportOptions } from './nats-transport.ts';
import { createReceiver } from './receiver.ts';
import type { EventTransport } from './transport.ts';

const [previous, current, next] = ['old', 'current', 'next'].map(
  (word) => `the ${word} secret of thirty-two characters`,
) as [string, string, string];

/** Event counters since the start of the test. */
type Counts = Readonly<Record<'unsigned' | 'invalid' | 'accepted', number>>;

await describeOnNats('signed NATS events', () => {
  let nats: ServerProcess;
  let database: Database;
  let client: NatsConnection;
  let view: StreamView;

  before(async () => {
    nats = await startNats();
    database = await openTestPglite(eventTables);
    await createThingTables(database);
    client = await connect({ servers: nats.url });
    view = await viewStream(nats.url, 'ZERDA');
  });
  after(async () => {
    await view?.close();
    await client?.close();
    await database?.close();
    await nats?.stop();
  });

  async function openTransport(
    context: TestContext,
    options: Partial<NatsTransportOptions> & Pick<NatsTransportOptions, 'service' | 'secrets'>,
  ): Promise<EventTransport> {
    const transport = await createNatsTransport({
      access: { servers: nats.url },
      prefix: 'zerda',
      timeoutMs: 1000,
      ackWaitMs: 1000,
      logger: silentLogger(),
      metrics: eventMetrics(testMetrics().registry),
      ...options,
    });
    context.after(() => transport.close());
    return transport;
  }

  const send = async (context: TestContext, secrets: readonly string[], event = thingEvent()) => {
    await sendWithRetries(await openTransport(context, { service: 'sender', secrets }), event);
    return event;
  };

  /** Starts a service with its own consumer that stores received things in the shared database. */
  async function startReceiver(
    context: TestContext,
    {
      secrets = [current],
      service = `receiver-${randomUUID()}`,
      acceptUnsigned = false,
    }: Partial<NatsTransportOptions> = {},
  ) {
    const metrics = testMetrics();
    const { logger, lines } = recordingLogger();
    const transport = await openTransport(context, {
      service,
      secrets,
      acceptUnsigned,
      logger,
      metrics: eventMetrics(metrics.registry),
    });
    transport.subscribe(
      createReceiver({
        database,
        subscriptions: [recordThing],
        logger,
        metrics: eventMetrics(metrics.registry),
      }),
    );
    return {
      service,
      lines,
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
      /** Waits until all messages are delivered and acknowledged. Returns the number of deliveries. */
      async drained(): Promise<number> {
        let deliveries = 0;
        await eventually(async () => {
          const consumer = await view.consumer(service).catch(() => undefined);
          deliveries = consumer?.deliveries ?? 0;
          return deliveries > 0 && consumer?.pending === 0 && consumer.ackPending === 0;
        }, 'an idle consumer');
        return deliveries;
      },
      times: async ({ subject }: { subject: string }) =>
        (await receivedThings(database)).filter(({ id }) => subject === `things/${id}`).length,
    };
  }

  /** Publishes a message like any client of the server. */
  const publish = (subject: string, text: string, signature?: string): Promise<unknown> => {
    const sent = headers();
    if (signature !== undefined) sent.set(signatureHeader, signature);
    return jetstream(client).publish(subject, text, { headers: sent });
  };

  const letters = () => rowsIn(database, sql`select event_id from dead_letters`);

  it('are dropped without redelivery if the signature is missing or invalid', async (context) => {
    await send(context, [current]);
    await view.purge();
    const receiver = await startReceiver(context);
    const forgeries: [what: string, signature: (subject: string, text: string) => string | undefined][] = [
      ['no signature', () => undefined],
      ['an empty signature', () => ''],
      ['another secret', (subject, text) => signMessage(subject, text, [next])],
      ['the previous secret', (subject, text) => signMessage(subject, text, [previous])],
      ['another body', (subject, text) => signMessage(subject, `${text} `, [current])],
      ['another subject', (_, text) => signMessage('zerda.thing.unmade.v1', text, [current])],
      ['a request over HTTP', (_, text) => sign(text, [current])],
      ['a request over HTTP, renamed', (_, text) => sign(text, [current]).replace('v1=', 'nats1=')],
      [
        'a request signature over the text of a message',
        (subject, text) => sign(`nats\n${subject}\n${text}`, [current]),
      ],
      ['a truncated signature', (subject, text) => signMessage(subject, text, [current]).slice(0, -32)],
      ['no hex digits', () => `nats1=${'z'.repeat(64)}`],
      ['a name without value', () => 'nats1'],
    ];
    const events = forgeries.map(() => thingEvent());
    for (const [index, [, signature]] of forgeries.entries()) {
      const { type, text } = events[index] as (typeof events)[number];
      await publish(type, text, signature(type, text));
    }
    const genuine = await send(context, [current]);
    await eventually(async () => (await receiver.times(genuine)) === 1, 'the genuine event');
    assert.equal(await receiver.drained(), forgeries.length + 1, 'delivers each once');
    for (const [index, [what]] of forgeries.entries()) {
      assert.equal(await receiver.times(events[index] as (typeof events)[number]), 0, what);
    }
    assert.deepEqual(await receiver.counts(), { unsigned: 2, invalid: forgeries.length - 2, accepted: 0 });
    assert.deepEqual(await letters(), []);
    assert.deepEqual(
      receiver.lines.filter(({ level }) => level === 'warn').map(({ msg, reason }) => [msg, reason]),
      [['event without a valid signature rejected', 'unsigned']],
      'logs one line for all',
    );
  });

  it('are not stored if they are unsigned and not events', async (context) => {
    await send(context, [current]);
    await view.purge();
    const receiver = await startReceiver(context);
    for (let count = 0; count < 500; count += 1) void publish('zerda.thing.made.v1', `no event ${count}`);
    await eventually(async () => (await receiver.counts()).unsigned === 500, 'every forged message');
    const genuine = await send(context, [current]);
    await eventually(async () => (await receiver.times(genuine)) === 1, 'the genuine event');
    assert.equal(await receiver.drained(), 501);
    assert.deepEqual(await letters(), []);
  });

  it('are applied during a secret rotation in any order of the services', async (context) => {
    const generations = [[previous], [current, previous], [current]];
    for (const [index, sending] of generations.entries()) {
      for (const [other, receiving] of generations.entries()) {
        const event = await send(context, sending);
        const receiver = await startReceiver(context, { secrets: receiving });
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

  it('are applied once if two replicas receive copies concurrently', async (context) => {
    await send(context, [current]);
    await view.purge();
    const service = `receiver-${randomUUID()}`;
    const receiver = await startReceiver(context, { service });
    await startReceiver(context, { service });
    const events = Array.from({ length: 20 }, () => thingEvent());
    await Promise.all(
      events.flatMap(({ type, text }) =>
        Array.from({ length: 5 }, () => publish(type, text, signMessage(type, text, [current]))),
      ),
    );
    // A slow machine adds redeliveries.
    assert.ok((await receiver.drained()) >= 100);
    for (const event of events) assert.equal(await receiver.times(event), 1);
  });

  it('are applied and counted without a signature if allowed; an invalid signature is rejected', async (context) => {
    await send(context, [current]);
    await view.purge();
    const receiver = await startReceiver(context, { acceptUnsigned: true });
    const [unsigned, forged] = [thingEvent(), thingEvent()];
    await publish(unsigned.type, unsigned.text);
    await publish(forged.type, forged.text, signMessage(forged.type, forged.text, [next]));
    const genuine = await send(context, [current]);
    await receiver.drained();
    const times = await Promise.all([unsigned, forged, genuine].map(receiver.times));
    assert.deepEqual(times, [1, 0, 1]);
    assert.deepEqual(await receiver.counts(), { unsigned: 0, invalid: 1, accepted: 1 });
  });

  it('are applied after a rejection if the consumer is deleted and the secret corrected', async (context) => {
    const event = await send(context, [next]);
    const mistaken = await startReceiver(context, { secrets: [current] });
    await mistaken.drained();
    await mistaken.close();
    assert.equal(await mistaken.times(event), 0);
    const corrected = await startReceiver(context, { service: mistaken.service, secrets: [next, current] });
    // nats-server 2.9 may report an error while it writes a file of the consumer, although it deletes the consumer.
    const manager = await jetstreamManager(client);
    await manager.consumers.delete('ZERDA', mistaken.service).catch(() => undefined);
    await eventually(async () => (await corrected.times(event)) === 1, 'the event');
  });

  it('are rejected if they exceed max_payload with their headers', async (context) => {
    const sender = await openTransport(context, { service: 'sender', secrets: [current] });
    const max = client.info?.max_payload ?? 0;
    const event = thingEvent();
    const padded = (length: number) => ({ ...event, text: event.text.padEnd(length) });
    await sendWithRetries(sender, padded(max - 1024));
    await assert.rejects(sendWithRetries(sender, padded(max - 10)), { name: 'SendError', kind: 'rejected' });
  });
});

let thingCount = 0;

/** Returns an event about a thing that no other event of this run uses. */
function thingEvent() {
  thingCount += 1;
  const event = testEvent(`things/${thingCount}`);
  const value = JSON.parse(event.text);
  return { ...event, text: JSON.stringify({ ...value, data: { ...value.data, id: thingCount } }) };
}
