import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import { runInContext } from '@zerda/chassis/request-context';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { recordingLogger, silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { type RecordedSpan, recordingTracer } from '@zerda/chassis/testing/tracer';
import { eventually } from '@zerda/chassis/testing/wait';
import { newTraceparent } from '@zerda/chassis/tracing/traceparent';
import { describeOnNats, startNats } from '../testing/nats.ts';
import { createThingTables, eventTables, makeThing, recordThing, thingMade } from '../testing/things.ts';
import { eventMetrics } from './event-metrics.ts';
import { createEventSink } from './event-sink.ts';
import { startSendSpan } from './event-spans.ts';
import { createHttpTransport } from './http-transport.ts';
import { createNatsTransport } from './nats-transport.ts';
import { createReceiver, onEvent, type Subscription } from './receiver.ts';
import { startRelay } from './relay.ts';
import type { EventTransport } from './transport.ts';

const secrets = ['a secret of at least thirty-two characters'];
const quick = { baseMs: 5, maxMs: 20 };
const metrics = () => eventMetrics(testMetrics().registry);

async function byHttp(context: TestContext): Promise<{ sender: EventTransport; receiver: EventTransport }> {
  const sink = createEventSink({ secrets, logger: silentLogger(), metrics: metrics() });
  const server = createServer(sink.listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    sender: createHttpTransport({ sinks: [url], secrets }),
    receiver: createHttpTransport({ sinks: [], secrets, sink }),
  };
}

async function byNats(context: TestContext): Promise<{ sender: EventTransport; receiver: EventTransport }> {
  const nats = await startNats();
  if (nats === undefined) throw new Error('nats-server is not installed');
  context.after(() => nats.stop());
  const open = (service: string) =>
    createNatsTransport({
      access: { servers: nats.url },
      service,
      prefix: 'zerda',
      secrets,
      logger: silentLogger(),
      ackWaitMs: 1000,
      metrics: metrics(),
    });
  return { sender: await open('sender'), receiver: await open('receiver') };
}

/** Writes an event in a request and processes it in another service. Returns the spans of all and the log of the receiver. */
async function deliver(
  context: TestContext,
  system: 'http' | 'nats',
  {
    sampled = true,
    subscription = recordThing,
    maxFailures = 10,
  }: { sampled?: boolean; subscription?: Subscription; maxFailures?: number } = {},
) {
  const { tracer, spans } = recordingTracer();
  const { logger, lines } = recordingLogger();
  const [sending, receiving] = [await openTestPglite(eventTables), await openTestPglite(eventTables)];
  await createThingTables(sending);
  await createThingTables(receiving);
  const { sender, receiver } = await (system === 'http' ? byHttp : byNats)(context);
  receiver.subscribe(
    createReceiver({
      database: receiving,
      subscriptions: [subscription],
      logger,
      metrics: metrics(),
      tracer,
      service: 'receiver',
      maxFailures,
      backoff: quick,
    }),
  );
  const span = sampled ? tracer.start('request', { name: 'POST /things' }) : undefined;
  const request = {
    correlationId: 'abc',
    deadline: Deadline.after(10_000),
    traceparent: span?.traceparent ?? newTraceparent(),
    span,
  };
  await runInContext(request, () => makeThing(sending, 1));
  const relay = startRelay({
    database: sending,
    transport: sender,
    logger: silentLogger(),
    metrics: metrics(),
    tracer,
    system,
    pollMs: 20,
    eventBackoff: quick,
    transportBackoff: quick,
  });
  context.after(async () => {
    await relay.stop();
    await sender.close();
    await receiver.close();
    await Promise.all([sending.close(), receiving.close()]);
  });
  // A transport that is not connected yet fails to send.
  const isEarly = ({ key, attributes }: RecordedSpan) =>
    key === 'send' && attributes['error.type'] === 'unavailable';
  const named = (key: RecordedSpan['key']) =>
    spans.filter((candidate) => candidate.key === key && !isEarly(candidate));
  const only = (key: RecordedSpan['key']): RecordedSpan => {
    const [found, ...others] = named(key);
    assert.ok(found !== undefined && others.length === 0, `${key}: ${named(key).length}`);
    return found;
  };
  return { request, spans, lines, named, only };
}

function itLinksEvents(system: 'http' | 'nats'): void {
  it('leads from the request over the outbox to the effect, by a parent or a link at each step', async (context) => {
    const { request, named, only } = await deliver(context, system);
    await eventually(() => named('process').some(({ ended }) => ended));
    const [append, send, process] = [only('append'), only('send'), only('process')];
    const writing = named('transaction').find(({ traceparent }) => traceparent === append.parent);
    assert.equal(writing?.parent, request.traceparent);
    assert.deepEqual([send.parent, send.links], [undefined, [append.traceparent]]);
    assert.deepEqual([process.parent, process.links], [send.traceparent, [append.traceparent]]);
    const applying = named('transaction').find(({ parent }) => parent === process.traceparent);
    assert.ok(
      named('statement').some(
        ({ name, parent }) => name === 'INSERT received_things' && parent === applying?.traceparent,
      ),
    );
    assert.deepEqual(append.attributes, {
      'messaging.system': 'outbox',
      'messaging.operation.name': 'append',
      'messaging.operation.type': 'create',
      'messaging.destination.name': thingMade.type,
      'messaging.batch.message_count': 1,
    });
    const id = send.attributes['messaging.message.id'];
    assert.match(String(id), /^[0-9a-f-]{36}$/);
    const common = {
      'messaging.system': system,
      'messaging.destination.name': thingMade.type,
      'messaging.message.id': id,
      'zerda.correlation_id': 'abc',
    };
    const attempts = Number(send.attributes['zerda.event.delivery']);
    assert.ok(attempts >= 1);
    assert.deepEqual(send.attributes, {
      ...common,
      'zerda.event.delivery': attempts,
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
    });
    assert.deepEqual(process.attributes, {
      ...common,
      'zerda.event.delivery': system === 'http' ? attempts : 1,
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.consumer.group.name': 'receiver',
      'zerda.event.outcome': 'applied',
    });
  });

  it('has one span of each delivery of an event that fails, with its number', async (context) => {
    let times = 0;
    const { named, only, lines } = await deliver(context, system, {
      subscription: onEvent(thingMade, async () => {
        times += 1;
        if (times < 3) throw new Error('not yet');
        return undefined;
      }),
    });
    await eventually(() => named('process').filter(({ ended }) => ended).length === 3);
    const creation = only('append').traceparent;
    assert.deepEqual(
      named('process').map(({ attributes, failed, links }) => [
        attributes['zerda.event.delivery'],
        attributes['zerda.event.outcome'],
        failed,
        links,
      ]),
      [
        [1, 'failed', true, [creation]],
        [2, 'failed', true, [creation]],
        [3, 'applied', false, [creation]],
      ],
    );
    // HTTP reports each failure to the sender; NATS redelivers the stored message.
    assert.equal(named('send').length, system === 'http' ? 3 : 1);
    for (const { parent } of named('process'))
      assert.ok(named('send').some(({ traceparent }) => traceparent === parent));
    const warnings = lines.filter(({ msg }) => msg === 'event failed, will retry');
    assert.deepEqual(
      warnings.map(({ trace_id }) => trace_id),
      named('process')
        .slice(0, 2)
        .map(({ traceparent }) => traceparent.slice(3, 35)),
    );
  });

  it('marks the delivery that moves an event to the dead letters', async (context) => {
    const { named } = await deliver(context, system, {
      maxFailures: 1,
      subscription: onEvent(thingMade, async () => {
        throw new Error('never');
      }),
    });
    await eventually(() => named('process').some(({ ended }) => ended));
    const [process] = named('process');
    assert.deepEqual(
      [process?.failed, process?.attributes['error.type'], process?.events.map(({ name }) => name)],
      [true, 'dead-lettered', ['dead-lettered']],
    );
  });

  it('records nothing of a request that is not sampled, whose trace is in the log of the receiver', async (context) => {
    let times = 0;
    const { request, spans, lines } = await deliver(context, system, {
      sampled: false,
      subscription: onEvent(thingMade, async () => {
        times += 1;
        if (times === 1) throw new Error('not yet');
        return undefined;
      }),
    });
    await eventually(() => times === 2);
    assert.deepEqual(spans, []);
    const warning = lines.find(({ msg }) => msg === 'event failed, will retry');
    assert.equal(warning?.trace_id, request.traceparent.slice(3, 35));
  });
}

describe('spans of events over HTTP', () => itLinksEvents('http'));
await describeOnNats('spans of events', () => itLinksEvents('nats'));

it('the span of sending parses no event of a trace that is not sampled', () => {
  const { tracer, spans } = recordingTracer();
  const event = { position: 1, id: 'e-1', type: thingMade.type, subject: 'things/1', attempts: 1 };
  const text = `{"id":"e-1","traceparent":"${newTraceparent()}","data": not parsed`;
  assert.equal(startSendSpan(tracer, { ...event, text }, 'http'), undefined);
  assert.deepEqual(spans, []);
});
