import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sendRequest } from '@zerda/chassis/testing/http';
import { createGate } from '@zerda/chassis/testing/observed';
import { recordingTracer } from '@zerda/chassis/testing/tracer';
import { eventually } from '@zerda/chassis/testing/wait';
import { startGateway } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { parseTable } from '../routes/read-table.ts';

const client = {
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  tracestate: 'vendor=1',
  baggage: 'tenant=7',
};

const cachedTable = parseTable(
  `
upstreams: { user-service: {}, order-service: {} }
routes: [{ path: '/api/users/{id}', methods: [GET], upstream: user-service, access: public, cache: { ttl_ms: 60000 } }]
`,
  'test',
);

describe('spans of a forwarded request', () => {
  it('are the request and the attempt, whose traceparent the service gets instead of that of the client', async (context) => {
    const { tracer, spans } = recordingTracer();
    const gateway = await startGateway(context, { door: { tracer } });
    const { headers } = await sendRequest(`${gateway.url}/api/users/7?secret=1`, { headers: client });
    await eventually(() => spans.length === 2 && spans.every(({ ended }) => ended));
    const [request, attempt] = spans;
    assert.deepEqual([request?.name, request?.links], ['GET /api/users/{id}', [client.traceparent]]);
    assert.deepEqual([attempt?.name, attempt?.parent], ['GET /api/users/{id}', request?.traceparent]);
    assert.equal(attempt?.attributes['http.response.status_code'], 200);
    assert.equal(headers.traceresponse, request?.traceparent);
    const sent = gateway.users.requests[0]?.headers;
    assert.deepEqual(
      [sent?.traceparent, sent?.tracestate, sent?.baggage],
      [attempt?.traceparent, undefined, client.baggage],
    );
    assert.doesNotMatch(JSON.stringify(spans), /secret/);
  });

  it('continue the trace of a trusted client, with its tracestate', async (context) => {
    const { tracer, spans } = recordingTracer();
    const gateway = await startGateway(context, { door: { tracer, trustsTraces: true } });
    await sendRequest(`${gateway.url}/api/users/7`, { headers: client });
    await eventually(() => spans.length === 2);
    assert.deepEqual([spans[0]?.parent, spans[0]?.links], [client.traceparent, []]);
    assert.equal(gateway.users.requests[0]?.headers.tracestate, client.tracestate);
  });

  it('do not exist without a tracer; the service then gets an unsampled trace with the id of the response', async (context) => {
    const gateway = await startGateway(context);
    const { headers } = await sendRequest(`${gateway.url}/api/users/7`, { headers: client });
    assert.match(headers.traceresponse ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    assert.equal(gateway.users.requests[0]?.headers.traceparent, headers.traceresponse);
    assert.notEqual(headers.traceresponse?.slice(3, 35), client.traceparent.slice(3, 35));
  });

  it('link to the call of another request whose response they share', async (context) => {
    const { tracer, spans } = recordingTracer();
    const gate = createGate();
    const gateway = await startGateway(context, {
      table: cachedTable,
      door: { tracer },
      users: async (_request, response) => {
        await gate.pass();
        sendJson(response, 200, {});
      },
    });
    const responses = [sendRequest(`${gateway.url}/api/users/7`), sendRequest(`${gateway.url}/api/users/7`)];
    await eventually(() => spans.filter(({ key }) => key === 'request').length === 2);
    await eventually(() => gateway.users.requests.length === 1);
    gate.open();
    await Promise.all(responses);
    await eventually(() => spans.every(({ ended }) => ended));
    const attempt = spans.find(({ key }) => key === 'attempt');
    const coalesced = spans.filter(({ attributes }) => attributes['zerda.cache.outcome'] === 'coalesced');
    assert.deepEqual(
      coalesced.map(({ links }) => links),
      [[attempt?.traceparent]],
    );
  });

  it('have the outcome of the cache, and no attempt for a hit', async (context) => {
    const { tracer, spans } = recordingTracer();
    const gateway = await startGateway(context, {
      table: cachedTable,
      door: { tracer },
      users: (_request, response) => sendJson(response, 200, {}),
    });
    for (let time = 0; time < 2; time += 1) await sendRequest(`${gateway.url}/api/users/7`);
    await eventually(() => spans.filter(({ key, ended }) => key === 'request' && ended).length === 2);
    assert.deepEqual(
      spans.map(({ key, attributes }) => [key, attributes['zerda.cache.outcome']]),
      [
        ['request', 'miss'],
        ['attempt', undefined],
        ['request', 'hit'],
      ],
    );
  });
});
