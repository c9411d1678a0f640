import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { sendRequest } from '@zerda/chassis/testing/http';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { z } from 'zod';
import { startGateway } from '../../testing/gateway.ts';
import { testVerifier } from '../../testing/verifier.ts';
import { describeTable } from '../routes/describe-table.ts';
import { parseTable } from '../routes/read-table.ts';
import { createTableSchemas, routeTableSchema } from '../routes/table.ts';
import { authorize } from './authorize.ts';
import { policies } from './policies.ts';
import { definePolicy } from './policy.ts';
import { documentPolicies, type PolicyList } from './route-policies.ts';

/** Names of the resources that the policy got. */
let received: string[] = [];

const retired = definePolicy({
  key: 'retired',
  schema: z
    .enum(['now', 'later', 'never'])
    .optional()
    .describe('When the policy responds with 410: at once (now), asynchronously (later) or never (default).'),
  scopes: ['routes', 'aggregates'],
  resources: ['metrics', 'load'],
  responseHeaders: (setting) => (setting === undefined ? [] : ['x-retired']),
  documentation: { effect: 'rejects requests to retired routes', response: '410' },
  describe: (setting) => (setting === undefined ? undefined : `retired ${setting}`),
  create(setting, _route, resources) {
    received = Object.keys(resources);
    if (setting === undefined || setting === 'never') return undefined;
    return ({ response, responseHeaders }) => {
      response.writeHead(410, [...responseHeaders, 'X-Retired', setting]).end('retired');
      return setting === 'now' ? true : nextTurn(true);
    };
  },
});

/** The policies of the gateway with one more after CORS. */
const [cors, ...others] = policies;
const list: PolicyList = [cors, retired, ...others];
const schemas = createTableSchemas(list);

const table = parseTable(
  `
upstreams: { user-service: {}, order-service: {} }
defaults: { cors: { origins: ['*'] } }
routes:
  - { path: /old, methods: [GET], upstream: user-service, retired: now }
  - { path: /older, methods: [GET], upstream: user-service, retired: later }
  - { path: /new, methods: [GET], upstream: user-service, access: public }
aggregates:
  - { path: /overview, parts: { user: { upstream: user-service, path: /user } }, answer: { user: { from: user } }, retired: now }
  - { path: /summary, parts: { user: { upstream: user-service, path: /user } }, answer: { user: { from: user } }, retired: later }
`,
  'table',
  schemas,
);
const door = { policies: list, authentication: testVerifier };

describe('a policy that is defined and listed', () => {
  it('has its setting in routes, aggregates and defaults, and rejects other values', () => {
    assert.throws(
      () =>
        parseTable(
          '{ upstreams: { a: {} }, defaults: { retired: 1 }, routes: [{ path: /x, methods: [GET], upstream: a, retired: soon }] }',
          'table',
          schemas,
        ),
      /defaults\.retired must be one of now, later, never\n.*routes\.0\.retired must be one of now, later, never/,
    );
  });

  it('is unknown to a table without it', () => {
    assert.throws(
      () => parseTable('{ upstreams: {}, routes: [], defaults: { retired: now } }', 'table'),
      /defaults\.retired is not a key of the table/,
    );
  });

  it('runs in the order of the list', async (context) => {
    const gateway = await startGateway(context, { table, door });
    const headers = { origin: 'https://app.test' };
    const beforeAuthentication = await sendRequest(`${gateway.url}/old`, { headers });
    assert.equal(beforeAuthentication.status, 410);
    assert.equal(beforeAuthentication.headers['access-control-allow-origin'], '*');

    const last = await startGateway(context, { table, door: { ...door, policies: [...policies, retired] } });
    assert.equal((await sendRequest(`${last.url}/old`, { headers })).status, 401);
  });

  it('gets exactly the resources that it names', async (context) => {
    await startGateway(context, { table, door });
    assert.deepEqual(received, ['metrics', 'load']);
  });

  it('is the only one that sets its response headers', async (context) => {
    const gateway = await startGateway(context, {
      table: parseTable(
        '{ upstreams: { user-service: {} }, routes: [{ path: /new, methods: [GET], upstream: user-service, retired: never }] }',
        'table',
        schemas,
      ),
      door: { policies: list },
      users: (_request, response) => response.writeHead(200, { 'x-retired': 'forged' }).end(),
    });
    const { status, headers } = await sendRequest(`${gateway.url}/new`);
    assert.deepEqual([status, headers['x-retired']], [200, undefined]);
  });

  it('is documented in the schema, in npm run routes and in the table of docs/gateway.md', () => {
    assert.match(JSON.stringify(routeTableSchema(schemas)), /When the policy responds with 410/);
    const described = describeTable(table, { urls: {}, timeoutMs: 1000, policies: list });
    assert.match(described, /GET {2}\/old .*CORS \*, retired now, access user/);
    assert.match(described, /GET {2}\/overview .*CORS \*, retired now, access user/);
    assert.deepEqual(documentPolicies(list).split('\n').slice(2, 5), [
      '| 1 | `cors` | allows pages of other origins; responds to preflights before authentication | 204 |',
      '| 2 | `retired` | rejects requests to retired routes | 410 |',
      '| 3 | `shed` | rejects requests during overload | 503 `overloaded` |',
    ]);
  });
});

describe('a policy that responds', () => {
  for (const path of ['/old', '/older', '/overview', '/summary']) {
    it(`sends the only response to GET ${path}`, async (context) => {
      const { logger, lines } = recordingLogger();
      const gateway = await startGateway(context, { table, door, logger });
      const socket = connect(gateway.port, '127.0.0.1');
      socket.write(`GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`);
      socket.write('GET /new HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n');
      const responses = await text(socket);
      assert.deepEqual(responses.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 410', 'HTTP/1.1 200']);
      assert.deepEqual(
        gateway.users.requests.map(({ url }) => url),
        ['/new'],
      );
      assert.deepEqual(
        lines.filter(({ err }) => err !== undefined),
        [],
      );
    });
  }

  it('sends the only response of an endpoint that the gateway serves itself', async (context) => {
    const { logger, lines } = recordingLogger();
    const closed = definePolicy({
      ...authorize,
      scopes: ['own'],
      create:
        () =>
        ({ response }) => {
          response.writeHead(410).end();
          return true;
        },
    });
    const gateway = await startGateway(context, { logger, table, door: { policies: [closed] } });
    const unmatched = { method: 'POST' };
    const responses = await Promise.all([
      sendRequest(`${gateway.url}/docs`),
      sendRequest(`${gateway.url}/api/health`),
      sendRequest(`${gateway.url}/nowhere`),
      sendRequest(`${gateway.url}/new`, unmatched),
      sendRequest(`${gateway.url}/overview`, unmatched),
    ]);
    assert.deepEqual(
      responses.map(({ status }) => status),
      [410, 410, 410, 410, 410],
    );
    assert.deepEqual(
      lines.filter(({ err }) => err !== undefined),
      [],
    );
  });
});
