import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { CloudEvent, HTTP } from 'cloudevents';
import request from 'supertest';
import { recordingLogger, silentLogger, testMetrics } from '../testing.ts';
import { createEventSink } from './event-sink.ts';
import { createHttpTransport } from './http-transport.ts';
import { sign, signatureHeader, signMessage } from './signature.ts';
import { anEvent, itMovesEvents, scriptedReceiver, type Way } from './testing-transport.ts';
import { SendError } from './transport.ts';

const secrets = ['a secret of at least thirty-two characters'];
const logger = silentLogger();
const metrics = testMetrics().events;

/** A server whose listener can be exchanged, on a port that it keeps. */
async function openWay(): Promise<Way> {
  let listener: RequestListener = (_request, response) => response.writeHead(503).end();
  let server: Server;
  let port = 0;
  async function mend(): Promise<void> {
    server = createServer((incoming, response) => listener(incoming, response)).listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  }
  async function breakOff(): Promise<void> {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await mend();
  return {
    sender: async () => createHttpTransport({ sinks: [`http://127.0.0.1:${port}/events`], secrets }),
    async receiver() {
      const sink = createEventSink({ secrets, logger, metrics });
      listener = sink.listener;
      return createHttpTransport({ sinks: [], secrets, sink });
    },
    breakOff,
    mend,
    close: breakOff,
  };
}

describe('events by HTTP', () => itMovesEvents(openWay));

/** The signature of a message over NATS, under the names that belong to a request. */
function signatureOfAMessage(text: string): string {
  const [, hex] = signMessage('zerda.thing.made.v1', text, secrets).split('=');
  return `t=${Math.floor(Date.now() / 1000)},v1=${hex}`;
}

async function answering(context: TestContext, ...statuses: number[]) {
  const urls = await Promise.all(
    statuses.map(async (status) => {
      const server = createServer((incoming, response) => {
        incoming.resume();
        response.writeHead(status).end();
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      context.after(() => server.close());
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`;
    }),
  );
  const transport = createHttpTransport({ sinks: urls, secrets });
  context.after(() => transport.close());
  return transport;
}

const kindOf = (sending: Promise<void>) =>
  sending.then(
    () => 'taken',
    (error: unknown) => (error instanceof SendError ? error.kind : error),
  );

describe('a sender of events by HTTP', () => {
  const answers: [statuses: number[], kind: string][] = [
    [[204], 'taken'],
    [[500], 'failed'],
    [[501], 'failed'],
    [[503], 'unavailable'],
    [[429], 'unavailable'],
    [[401], 'unavailable'],
    [[404], 'unavailable'],
    [[400], 'refused'],
    [[413], 'refused'],
    [[422], 'refused'],
    [[301], 'failed'],
    [[204, 204], 'taken'],
    [[204, 400], 'refused'],
    [[500, 400], 'failed'],
    [[400, 503], 'unavailable'],
  ];
  for (const [statuses, kind] of answers) {
    it(`takes the answer ${statuses.join(' and ')} for ${kind}`, async (context) => {
      assert.equal(await kindOf((await answering(context, ...statuses)).send(anEvent())), kind);
    });
  }

  it('gives up a sink that does not answer in its time', async (context) => {
    const server = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const transport = createHttpTransport({ sinks: [url], secrets, timeoutMs: 100 });
    context.after(async () => {
      server.closeAllConnections();
      server.close();
      await transport.close();
    });
    assert.equal(await kindOf(transport.send(anEvent())), 'unavailable');
  });

  it('has nobody to wait for without sinks', async () => {
    await createHttpTransport({ sinks: [], secrets }).send(anEvent());
  });

  it('speaks CloudEvents as the SDK reads them', async (context) => {
    const seen: { headers: Record<string, string>; body: string }[] = [];
    const server = createServer(async (incoming, response) => {
      let body = '';
      for await (const chunk of incoming) body += chunk;
      seen.push({ headers: incoming.headers as Record<string, string>, body });
      response.end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`;
    const transport = createHttpTransport({ sinks: [url], secrets });
    context.after(async () => {
      await transport.close();
      server.close();
    });
    const event = anEvent();
    await transport.send(event);
    const read = HTTP.toEvent(seen[0] ?? { headers: {}, body: '' }) as CloudEvent<unknown>;
    assert.ok(read.validate());
    assert.deepEqual(JSON.parse(JSON.stringify(read)), JSON.parse(event.text));
  });
});

describe('a sink of events by HTTP', () => {
  function opened() {
    const sink = createEventSink({ secrets, logger, metrics });
    const { receiver, came } = scriptedReceiver();
    sink.open(receiver);
    return { sink, came };
  }
  const type = 'application/cloudevents+json; charset=utf-8';
  const post = (listener: RequestListener, body: string, signature: string, contentType = type) =>
    request(listener)
      .post('/events')
      .set('content-type', contentType)
      .set(signatureHeader, signature)
      .send(body);

  it('takes what the SDK of CloudEvents writes', async () => {
    const { sink, came } = opened();
    const { headers, body } = HTTP.structured(
      new CloudEvent({
        source: '/things',
        type: 'zerda.thing.made.v1',
        subject: 'things/1',
        data: { id: 1 },
      }),
    );
    const text = String(body);
    await post(sink.listener, text, sign(text, secrets), String(headers['content-type'])).expect(204);
    assert.deepEqual(came, [text]);
  });

  it('lets nobody in who does not know the secret', async () => {
    const { sink, came } = opened();
    const { text } = anEvent();
    const old = sign(text, secrets, Date.now() - 301_000);
    const early = sign(text, secrets, Date.now() + 400_000);
    const wrong = [
      ...['', 't=', 'v1=00', `t=${Math.floor(Date.now() / 1000)}`, old, early],
      ...[sign(text, ['another secret of at least thirty-two characters']), sign(`${text} `, secrets)],
      ...[signMessage('zerda.thing.made.v1', text, secrets), signatureOfAMessage(text)],
    ];
    for (const signature of wrong) await post(sink.listener, text, signature).expect(401);
    await request(sink.listener).post('/events').set('content-type', type).send(text).expect(401);
    assert.deepEqual(came, []);
  });

  it('counts what it rejects, and logs the first of many', async () => {
    const counted = testMetrics();
    const { logger, lines } = recordingLogger();
    const { listener } = createEventSink({ secrets, logger, metrics: counted.events });
    const { text } = anEvent();
    for (const signature of ['', 'v1=00', 't=1,v1=00']) await post(listener, text, signature).expect(401);
    const { body } = await counted.render();
    assert.match(body, /^events_rejected_total\{transport="http",reason="unsigned"\} 1$/m);
    assert.match(body, /^events_rejected_total\{transport="http",reason="invalid"\} 2$/m);
    assert.deepEqual(
      lines.map(({ msg, reason }) => [msg, reason]),
      [['event without a valid signature rejected', 'unsigned']],
    );
  });

  it('refuses what is too long, of another type, no event, or no POST', async () => {
    const { sink, came } = opened();
    const { text } = anEvent();
    await post(sink.listener, text, sign(text, secrets), 'application/json').expect(415);
    const long = `{"data":"${'x'.repeat(256 * 1024)}"}`;
    await post(sink.listener, long, sign(long, secrets)).expect(413);
    await post(sink.listener, 'no event', sign('no event', secrets)).expect(400);
    await request(sink.listener).get('/events').expect(405).expect('allow', 'POST');
    assert.deepEqual(came, []);
  });

  it('answers 503 until it is open', async () => {
    const sink = createEventSink({ secrets, logger, metrics });
    const { text } = anEvent();
    await post(sink.listener, text, sign(text, secrets)).expect(503).expect('retry-after', '1');
  });

  it('goes on taking events while a secret is replaced, whoever has the new one first', async () => {
    const { text } = anEvent();
    const [old = '', fresh = ''] = [...secrets, 'the next secret of at least thirty-two characters'];
    const generations = [[old], [fresh, old], [fresh]];
    for (const [index, sending] of generations.entries()) {
      for (const [other, receiving] of generations.entries()) {
        const sink = createEventSink({ secrets: receiving, logger, metrics });
        sink.open(scriptedReceiver().receiver);
        const status = Math.abs(index - other) > 1 ? 401 : 204;
        await post(sink.listener, text, sign(text, sending)).expect(status);
      }
    }
  });
});
