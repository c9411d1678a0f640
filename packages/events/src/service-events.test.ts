import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { loadConfig } from '@zerda/chassis/config/load-config';
import type { Database } from '@zerda/chassis/database/database';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { createLifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { recordingLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import { z } from 'zod';
import { describeOnNats, startNats } from '../testing/nats.ts';
import { createThingTables, eventTables, makeThing, receivedThings, recordThing } from '../testing/things.ts';
import { testEvent } from '../testing/transport.ts';
import { createDeadLetters } from './dead-letters.ts';
import { eventVariables } from './event-variables.ts';
import { deadLetterReceived } from './inbox.ts';
import { openServiceEvents, openServiceSink } from './service-events.ts';

const EVENT_SECRET = 'a secret of at least thirty-two characters';

function readConfig(environment: Record<string, string>) {
  return loadConfig(z.object(eventVariables()), environment);
}

/** Starts a service like `main.ts`: database, management port, event transport. */
async function startService(
  context: TestContext,
  name: string,
  environment: Record<string, string>,
  subscriptions = [recordThing],
) {
  const config = readConfig(environment);
  const { logger, lines } = recordingLogger();
  const lifecycle = createLifecycle({ logger });
  context.after(() => lifecycle.shutdown());
  const metrics = testMetrics();
  const sink = openServiceSink({ config, logger, metrics });
  const management = createManagementApp({ lifecycle, metrics, logger, events: sink?.listener });
  const { url } = await startHttpServer(context, management);
  const database = await openTestPglite(eventTables);
  lifecycle.onShutdown('database', () => database.close());
  await createThingTables(database);
  const serviceDatabase = await openServiceEvents({
    service: name,
    config,
    database,
    logger,
    lifecycle,
    metrics,
    sink,
    subscriptions,
  });
  return {
    url: `${url}/events`,
    database: serviceDatabase,
    metrics,
    lines,
  };
}

async function assertDelivered(from: Database, to: Database): Promise<void> {
  await makeThing(from, 1, 'first');
  await makeThing(from, 1, 'second');
  await eventually(async () => (await receivedThings(to)).length === 2, 'both events');
  assert.deepEqual(
    (await receivedThings(to)).map(({ text }) => text),
    ['first', 'second'],
  );
}

describe('events of a service', () => {
  it('are posted to EVENT_SINKS and counted in metrics', async (context) => {
    const receiver = await startService(context, 'receiver', { EVENT_SECRET });
    const sender = await startService(context, 'sender', { EVENT_SECRET, EVENT_SINKS: receiver.url }, []);
    await assertDelivered(sender.database, receiver.database);
    await eventually(async () => (await sender.metrics.render()).body.includes('\noutbox_pending 0\n'));
    assert.match(
      (await sender.metrics.render()).body,
      /^events_sent_total\{type="zerda.thing.made.v1"\} 2$/m,
    );
    assert.match((await sender.metrics.render()).body, /^outbox_oldest_seconds 0$/m);
    assert.match(
      (await receiver.metrics.render()).body,
      /^event_handler_duration_seconds_count\{type="zerda.thing.made.v1",outcome="applied"\} 2$/m,
    );
    assert.match(
      (await receiver.metrics.render()).body,
      /^event_delivery_duration_seconds_count\{type="zerda.thing.made.v1"\} 2$/m,
    );
    const cycle = /^relay_last_cycle_timestamp_seconds (\S+)$/m.exec((await sender.metrics.render()).body);
    assert.ok(Math.abs(Number(cycle?.[1]) - Date.now() / 1000) < 30, String(cycle));
  });

  it('export the stored dead letters until they are replayed or discarded', async (context) => {
    const { database, metrics } = await startService(context, 'service', {}, []);
    const stored = async () =>
      /^dead_letters\{side="receiving"\} (\d+)$/m.exec((await metrics.render()).body)?.[1];
    assert.equal(await stored(), '0');
    await database.transaction((tx) =>
      deadLetterReceived(tx, {
        ...{ id: randomUUID(), source: '/things', type: 'zerda.thing.made.v1', subject: 'things/1' },
        ...{ text: '{}', error: 'a test', attempts: 1 },
      }),
    );
    assert.equal(await stored(), '1');
    const letters = createDeadLetters(database);
    for (const letter of await letters.list(10)) await letters.discard(letter);
    assert.equal(await stored(), '0');
  });

  it('require a secret for EVENT_SINKS', async (context) => {
    const starting = startService(context, 'sender', { EVENT_SINKS: 'http://127.0.0.1:9/events' }, []);
    await assert.rejects(starting, /^StartupError: EVENT_SECRET must be set/);
  });

  it('require a secret for NATS_URL', async (context) => {
    const starting = startService(context, 'sender', { NATS_URL: 'nats://127.0.0.1:1' }, []);
    await assert.rejects(starting, {
      name: 'StartupError',
      exitCode: 78,
      message: /^EVENT_SECRET must be set/,
    });
  });

  it('are not accepted without a secret, and the log reports it', async (context) => {
    const { logger, lines } = recordingLogger();
    const database = await openTestPglite(eventTables);
    const lifecycle = createLifecycle({ logger });
    context.after(() => lifecycle.shutdown());
    lifecycle.onShutdown('database', () => database.close());
    const config = readConfig({});
    const metrics = testMetrics();
    assert.equal(openServiceSink({ config, logger, metrics }), undefined);
    await openServiceEvents({
      service: 'receiver',
      config,
      database,
      logger,
      lifecycle,
      metrics,
      subscriptions: [recordThing],
    });
    assert.ok(lines.some(({ msg }) => String(msg).startsWith('event sink disabled')));
  });
});

await describeOnNats('events of a service', () => {
  it('are sent over NATS if NATS_URL is set', async (context) => {
    const nats = await startNats();
    context.after(() => nats.stop());
    const receiver = await startService(context, 'receiver', { EVENT_SECRET, NATS_URL: nats.url });
    const sender = await startService(context, 'sender', { EVENT_SECRET, NATS_URL: nats.url }, []);
    await assertDelivered(sender.database, receiver.database);
  });

  for (const [setting, applied, effect] of [
    ['required', 0, 'are rejected'],
    ['accept-unsigned', 1, 'are applied with a warning'],
  ] as const) {
    it(`${effect} without a signature if EVENT_SIGNATURES is ${setting}`, async (context) => {
      const nats = await startNats();
      context.after(() => nats.stop());
      const environment = { EVENT_SECRET, NATS_URL: nats.url, EVENT_SIGNATURES: setting };
      const { database, lines, metrics } = await startService(context, 'receiver', environment);
      const isCounted = async () => {
        const { body } = await metrics.render();
        return /^events_(accepted_unsigned_total|rejected_total\{transport="nats",reason="unsigned"\}) 1$/m.test(
          body,
        );
      };
      const client = await connect({ servers: nats.url });
      context.after(() => client.close());
      const { type, text } = testEvent();
      await eventually(async () => {
        const stored = await jetstream(client)
          .publish(type, text)
          .catch(() => undefined);
        return stored !== undefined;
      }, 'the stream');
      await eventually(isCounted, 'the event');
      await eventually(async () => (await receivedThings(database)).length === applied, 'its effect');
      const warned = lines.some(({ msg }) => String(msg).startsWith('unsigned NATS events accepted'));
      assert.equal(warned, applied === 1);
    });
  }

  it('are also accepted over HTTP while senders migrate to NATS', async (context) => {
    const nats = await startNats();
    context.after(() => nats.stop());
    const receiver = await startService(context, 'receiver', { EVENT_SECRET, NATS_URL: nats.url });
    const sender = await startService(context, 'sender', { EVENT_SECRET, EVENT_SINKS: receiver.url }, []);
    await assertDelivered(sender.database, receiver.database);
  });
});

describe('event variables', () => {
  it('are parsed, and rejected if invalid', () => {
    const config = readConfig({
      EVENT_SINKS: 'http://a:1/events, http://b:2/events',
      NATS_URL: 'nats://a:4222,tls://b:4222',
    });
    assert.deepEqual(config.EVENT_SINKS, ['http://a:1/events', 'http://b:2/events']);
    const invalid = {
      EVENT_SINKS: 'a:1',
      EVENT_SECRET: 'short',
      NATS_URL: 'http://a',
      EVENT_MAX_FAILURES: '0',
    };
    assert.throws(
      () => readConfig(invalid),
      (error: Error) => Object.keys(invalid).every((name) => error.message.includes(`  ${name}`)),
    );
  });
});
