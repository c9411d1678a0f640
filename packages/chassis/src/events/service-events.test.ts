import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { z } from 'zod';
import { eventVariables } from '../config/event-variables.ts';
import { loadConfig } from '../config/load-config.ts';
import type { Database } from '../database/database.ts';
import { openTestPglite } from '../database/testing.ts';
import { createManagementApp } from '../http/management-app.ts';
import { createLifecycle } from '../lifecycle/lifecycle.ts';
import { recordingLogger, testMetrics } from '../testing.ts';
import { openServiceEvents, openServiceSink } from './service-events.ts';
import { describeOnNats, startNats } from './testing-nats.ts';
import { createThings, eventTables, heard, hearing, makeThing } from './testing-things.ts';
import { anEvent, until } from './testing-transport.ts';

const EVENT_SECRET = 'a secret of at least thirty-two characters';

function read(environment: Record<string, string>) {
  return loadConfig(z.object(eventVariables()), environment);
}

/** A service as `main.ts` makes one: its database, its management port, and what it shows there. */
async function startService(
  context: TestContext,
  name: string,
  environment: Record<string, string>,
  subscriptions = [hearing],
) {
  const config = read(environment);
  const { logger, lines } = recordingLogger();
  const lifecycle = createLifecycle({ logger });
  context.after(() => lifecycle.shutdown());
  const metrics = testMetrics();
  const sink = openServiceSink({ config, logger, metrics });
  const server = createServer(createManagementApp({ lifecycle, metrics, events: sink?.listener }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  lifecycle.onShutdown(
    'management',
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  const database = await openTestPglite(eventTables);
  lifecycle.onShutdown('database', () => database.close());
  await createThings(database);
  const waking = await openServiceEvents({
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
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`,
    database: waking,
    ...{ metrics, lines },
  };
}

async function arrives(from: Database, to: Database): Promise<void> {
  await makeThing(from, 1, 'first');
  await makeThing(from, 1, 'second');
  await until(async () => (await heard(to)).length === 2, 'both events');
  assert.deepEqual(
    (await heard(to)).map(({ text }) => text),
    ['first', 'second'],
  );
}

describe('events of a service', () => {
  it('go to the services in EVENT_SINKS, and metrics tell of it', async (context) => {
    const receiver = await startService(context, 'hearer', { EVENT_SECRET });
    const sender = await startService(context, 'sender', { EVENT_SECRET, EVENT_SINKS: receiver.url }, []);
    await arrives(sender.database, receiver.database);
    await until(async () => (await sender.metrics.render()).body.includes('\noutbox_pending 0\n'));
    assert.match(
      (await sender.metrics.render()).body,
      /^events_sent_total\{type="zerda.thing.made.v1"\} 2$/m,
    );
    assert.match((await sender.metrics.render()).body, /^outbox_oldest_seconds 0$/m);
    assert.match(
      (await receiver.metrics.render()).body,
      /^event_handler_duration_seconds_count\{type="zerda.thing.made.v1",outcome="applied"\} 2$/m,
    );
  });

  it('need a secret when they are posted', async (context) => {
    const starting = startService(context, 'sender', { EVENT_SINKS: 'http://127.0.0.1:9/events' }, []);
    await assert.rejects(starting, /^StartupError: EVENT_SECRET must be set/);
  });

  it('need a secret when they go through NATS', async (context) => {
    const starting = startService(context, 'sender', { NATS_URL: 'nats://127.0.0.1:1' }, []);
    await assert.rejects(starting, {
      name: 'StartupError',
      exitCode: 78,
      message: /^EVENT_SECRET must be set/,
    });
  });

  it('cannot come in without a secret, and the log says so', async (context) => {
    const { logger, lines } = recordingLogger();
    const database = await openTestPglite(eventTables);
    const lifecycle = createLifecycle({ logger });
    context.after(() => lifecycle.shutdown());
    lifecycle.onShutdown('database', () => database.close());
    const config = read({});
    const metrics = testMetrics();
    assert.equal(openServiceSink({ config, logger, metrics }), undefined);
    await openServiceEvents({
      service: 'hearer',
      config,
      database,
      logger,
      lifecycle,
      metrics,
      subscriptions: [hearing],
    });
    assert.ok(lines.some(({ msg }) => String(msg).startsWith('no event reaches hearer')));
  });
});

await describeOnNats('events of a service', () => {
  it('go through NATS when NATS_URL is set', async (context) => {
    const nats = await startNats();
    assert.ok(nats);
    context.after(() => nats.stop());
    const receiver = await startService(context, 'hearer', { EVENT_SECRET, NATS_URL: nats.url });
    const sender = await startService(context, 'sender', { EVENT_SECRET, NATS_URL: nats.url }, []);
    await arrives(sender.database, receiver.database);
  });

  for (const [setting, applied, effect] of [
    ['required', 0, 'have no effect'],
    ['accept-unsigned', 1, 'are applied, with a warning,'],
  ] as const) {
    it(`${effect} without a signature when EVENT_SIGNATURES is ${setting}`, async (context) => {
      const nats = await startNats();
      assert.ok(nats);
      context.after(() => nats.stop());
      const environment = { EVENT_SECRET, NATS_URL: nats.url, EVENT_SIGNATURES: setting };
      const { database, lines, metrics } = await startService(context, 'hearer', environment);
      const counted = async () => {
        const { body } = await metrics.render();
        return /^events_(accepted_unsigned_total|rejected_total\{transport="nats",reason="unsigned"\}) 1$/m.test(
          body,
        );
      };
      const client = await connect({ servers: nats.url });
      context.after(() => client.close());
      const { type, text } = anEvent();
      await until(async () => {
        const stored = await jetstream(client)
          .publish(type, text)
          .catch(() => undefined);
        return stored !== undefined;
      }, 'the stream');
      await until(counted, 'the event');
      await until(async () => (await heard(database)).length === applied, 'its effect');
      const warned = lines.some(({ msg }) =>
        String(msg).startsWith('unsigned events are accepted over NATS'),
      );
      assert.equal(warned, applied === 1);
    });
  }

  it('come in by HTTP as well, while senders move to NATS', async (context) => {
    const nats = await startNats();
    assert.ok(nats);
    context.after(() => nats.stop());
    const receiver = await startService(context, 'hearer', { EVENT_SECRET, NATS_URL: nats.url });
    const sender = await startService(context, 'sender', { EVENT_SECRET, EVENT_SINKS: receiver.url }, []);
    await arrives(sender.database, receiver.database);
  });
});

describe('variables of events', () => {
  it('are read, and refused when they cannot be meant', () => {
    const config = read({
      EVENT_SINKS: 'http://a:1/events, http://b:2/events',
      NATS_URL: 'nats://a:4222,tls://b:4222',
    });
    assert.deepEqual(config.EVENT_SINKS, ['http://a:1/events', 'http://b:2/events']);
    const wrong = {
      EVENT_SINKS: 'a:1',
      EVENT_SECRET: 'short',
      NATS_URL: 'http://a',
      EVENT_MAX_FAILURES: '0',
    };
    assert.throws(
      () => read(wrong),
      (error: Error) => Object.keys(wrong).every((name) => error.message.includes(`  ${name}`)),
    );
  });
});
