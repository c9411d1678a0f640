import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { sign, signatureHeader, signMessage } from '@zerda/chassis/auth/signature';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { recordingLogger, silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { CloudEvent, HTTP } from 'cloudevents';
import request from 'supertest';
import { scriptedReceiver, type TransportFixture, testEvent, testTransport } from '../testing/transport.ts';
import { eventMetrics } from './event-metrics.ts';
import { createEventSink } from './event-sink.ts';
import { createHttpTransport } from './http-transport.ts';
import { type Receipt, SendError } from './transport.ts';

const secrets = ['a secret of at least thirty-two characters'];
const logger = silentLogger();
const metrics = eventMetrics(testMetrics().registry);

/** A server on a fixed port whose listener can be replaced. */
async function openFixture(): Promise<TransportFixture> {
  let listener: RequestListener = (_request, response) => response.writeHead(503).end();
  let server: Server;
  let port = 0;
  async function reconnect(): Promise<void> {
    server = createServer((incoming, response) => listener(incoming, response)).listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  }
  async function disconnect(): Promise<void> {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await reconnect();
  return {
    sender: async () => createHttpTransport({ sinks: [`http://127.0.0.1:${port}/events`], secrets }),
    async receiver() {
      const sink = createEventSink({ secrets, logger, metrics });
      listener = sink.listener;
      return createHttpTransport({ sinks: [], secrets, sink });
    },
    disconnect,
    reconnect,
    close: disconnect,
  };
}

describe('events over HTTP', () => testTransport(openFixture));

/** Returns the signature of a NATS message under the member names of a request. */
function signatureOfAMessage(text: string): string {
  const [, hex] = signMessage('zerda.thing.made.v1', text, secrets).split('=');
  return `t=${Math.floor(Date.now() / 1000)},v1=${hex}`;
}

async function responding(context: TestContext, ...statuses: number[]) {
  const urls = await Promise.all(
    statuses.map(async (status) => {
      const { url } = await startHttpServer(context, (incoming, response) => {
        incoming.resume();
        response.writeHead(status).end();
      });
      return `${url}/events`;
    }),
  );
  const transport = createHttpTransport({ sinks: urls, secrets });
  context.after(() => transport.close());
  return transport;
}

const kindOf = (sending: Promise<void>) =>
  sending.then(
    () => 'accepted',
    (error: unknown) => (error instanceof SendError ? error.kind : error),
  );

describe('HTTP event sender', () => {
  const responses: [statuses: number[], kind: string][] = [
    [[204], 'accepted'],
    [[500], 'failed'],
    [[501], 'failed'],
    [[503], 'unavailable'],
    [[429], 'unavailable'],
    [[401], 'unavailable'],
    [[404], 'unavailable'],
    [[400], 'rejected'],
    [[413], 'rejected'],
    [[422], 'rejected'],
    [[301], 'failed'],
    [[204, 204], 'accepted'],
    [[204, 400], 'rejected'],
    [[500, 400], 'failed'],
    [[400, 503], 'unavailable'],
  ];
  for (const [statuses, kind] of responses) {
    it(`maps ${statuses.join(' and ')} to ${kind}`, async (context) => {
      assert.equal(await kindOf((await responding(context, ...statuses)).send(testEvent())), kind);
    });
  }

  it('fails with unavailable if a sink times out', async (context) => {
    const { url } = await startHttpServer(context, () => undefined);
    const transport = createHttpTransport({ sinks: [url], secrets, timeoutMs: 100 });
    context.after(() => transport.close());
    assert.equal(await kindOf(transport.send(testEvent())), 'unavailable');
  });

  it('resolves at once without sinks', async () => {
    await createHttpTransport({ sinks: [], secrets }).send(testEvent());
  });

  it('sends CloudEvents that the SDK can parse', async (context) => {
    const seen: { headers: Record<string, string>; body: string }[] = [];
    const { url } = await startHttpServer(context, async (incoming, response) => {
      let body = '';
      for await (const chunk of incoming) body += chunk;
      seen.push({ headers: incoming.headers as Record<string, string>, body });
      response.end();
    });
    const transport = createHttpTransport({ sinks: [`${url}/events`], secrets });
    context.after(() => transport.close());
    const event = testEvent();
    await transport.send(event);
    const read = HTTP.toEvent(seen[0] ?? { headers: {}, body: '' }) as CloudEvent<unknown>;
    assert.ok(read.validate());
    assert.deepEqual(JSON.parse(JSON.stringify(read)), JSON.parse(event.text));
  });
});

describe('HTTP event sink', () => {
  function opened() {
    const sink = createEventSink({ secrets, logger, metrics });
    const { receiver, received } = scriptedReceiver();
    sink.open(receiver);
    return { sink, received };
  }
  const type = 'application/cloudevents+json; charset=utf-8';
  const post = (listener: RequestListener, body: string, signature: string, contentType = type) =>
    request(listener)
      .post('/events')
      .set('content-type', contentType)
      .set(signatureHeader, signature)
      .send(body);

  it('accepts events that the CloudEvents SDK creates', async () => {
    const { sink, received } = opened();
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
    assert.deepEqual(received, [text]);
  });

  it('returns 401 without a valid signature', async () => {
    const { sink, received } = opened();
    const { text } = testEvent();
    const expired = sign(text, secrets, Date.now() - 301_000);
    const premature = sign(text, secrets, Date.now() + 400_000);
    const wrong = [
      ...['', 't=', 'v1=00', `t=${Math.floor(Date.now() / 1000)}`, expired, premature],
      ...[sign(text, ['another secret of at least thirty-two characters']), sign(`${text} `, secrets)],
      ...[signMessage('zerda.thing.made.v1', text, secrets), signatureOfAMessage(text)],
    ];
    for (const signature of wrong) await post(sink.listener, text, signature).expect(401);
    await request(sink.listener).post('/events').set('content-type', type).send(text).expect(401);
    assert.deepEqual(received, []);
  });

  it('counts rejected requests and logs the first', async () => {
    const counted = testMetrics();
    const { logger, lines } = recordingLogger();
    const { listener } = createEventSink({ secrets, logger, metrics: eventMetrics(counted.registry) });
    const { text } = testEvent();
    for (const signature of ['', 'v1=00', 't=1,v1=00']) await post(listener, text, signature).expect(401);
    const { body } = await counted.render();
    assert.match(body, /^events_rejected_total\{transport="http",reason="unsigned"\} 1$/m);
    assert.match(body, /^events_rejected_total\{transport="http",reason="invalid"\} 2$/m);
    assert.deepEqual(
      lines.map(({ msg, reason }) => [msg, reason]),
      [['event without a valid signature rejected', 'unsigned']],
    );
  });

  it('rejects invalid requests with problem details', async () => {
    const { sink, received } = opened();
    const { text } = testEvent();
    const long = `{"data":"${'x'.repeat(256 * 1024)}"}`;
    const problemOf = ({ status, headers, body }: request.Response) => {
      assert.equal(body.status, status);
      return [status, headers['x-problem'], body.detail];
    };
    const postSigned = async (body: string, contentType?: string) =>
      problemOf(await post(sink.listener, body, sign(body, secrets), contentType));
    assert.deepEqual(await postSigned(text, 'application/json'), [415, 'unsupported-media-type', undefined]);
    assert.deepEqual(await postSigned(long), [413, 'payload-too-large', undefined]);
    assert.deepEqual(await postSigned('no event'), [400, 'invalid-request', 'not JSON']);
    const unsigned = await post(sink.listener, text, '').expect(
      'www-authenticate',
      'Signature realm="zerda"',
    );
    assert.deepEqual(problemOf(unsigned), [401, 'unauthenticated', undefined]);
    const get = await request(sink.listener).get('/events').expect('allow', 'POST');
    assert.deepEqual(problemOf(get), [405, 'method-not-allowed', undefined]);
    assert.deepEqual(received, []);
  });

  it('returns 500 if processing failed and 503 if the database is unavailable', async () => {
    const { text } = testEvent();
    const logged = recordingLogger();
    const sink = createEventSink({ secrets, logger: logged.logger, metrics });
    let outcome: () => Receipt;
    sink.open(scriptedReceiver(() => outcome()).receiver);
    const problem = async () => (await post(sink.listener, text, sign(text, secrets))).headers['x-problem'];
    outcome = () => ({ outcome: 'failed', retryInMs: 1000 });
    assert.equal(await problem(), 'internal-error');
    outcome = () => ({ outcome: 'unavailable', retryInMs: 1000 });
    assert.equal(await problem(), 'database-unavailable');
    assert.deepEqual(logged.lines, [], 'the receiver logs these errors');
    outcome = () => {
      throw new Error('a defect');
    };
    assert.equal(await problem(), 'internal-error');
    assert.deepEqual(
      logged.lines.map(({ level, msg }) => [level, msg]),
      [['error', 'fault']],
    );
  });

  it('returns 503 with Retry-After until it is open', async () => {
    const sink = createEventSink({ secrets, logger, metrics });
    const { text } = testEvent();
    const { status, headers } = await post(sink.listener, text, sign(text, secrets));
    assert.deepEqual(
      [status, headers['x-problem'], headers['retry-after']],
      [503, 'database-unavailable', '1'],
    );
  });

  it('accepts events during a secret rotation in any order of the services', async () => {
    const { text } = testEvent();
    const [previous = '', fresh = ''] = [...secrets, 'the next secret of at least thirty-two characters'];
    const generations = [[previous], [fresh, previous], [fresh]];
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
