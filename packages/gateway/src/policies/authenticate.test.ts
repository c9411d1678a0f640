import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type HttpResponse, sendRequest } from '@zerda/chassis/testing/http';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { startGateway } from '../../testing/gateway.ts';
import { jsonByPath } from '../../testing/stub-service.ts';
import { bearer, testVerifier } from '../../testing/verifier.ts';
import { parseTable } from '../routes/read-table.ts';

const door = { authentication: testVerifier };

function assertRejected(result: HttpResponse, status: number, code: string): void {
  assert.deepEqual([result.status, result.headers['x-problem']], [status, code], result.text);
  if (status !== 503) assert.match(result.headers['www-authenticate'] ?? '', /^Bearer realm=/);
}

describe('authentication', () => {
  it('accepts a valid token and forwards it unchanged', async (context) => {
    const gateway = await startGateway(context, { door });
    const result = await sendRequest(`${gateway.url}/api/users/1`, { headers: bearer('alice') });
    assert.equal(result.status, 200);
    assert.equal(gateway.users.requests[0]?.headers.authorization, bearer('alice').authorization);

    assertRejected(await sendRequest(`${gateway.url}/api/users/1`), 401, 'unauthenticated');
    for (const authorization of [
      'Bearer made-up',
      'Basic YTpi',
      'Bearer ',
      'Bearer a b',
      `Bearer ${'a'.repeat(9000)}`,
    ])
      assertRejected(
        await sendRequest(`${gateway.url}/api/users/1`, { headers: { authorization } }),
        401,
        'unauthenticated',
      );
    assert.equal(gateway.users.requests.length, 1, 'no other request is forwarded');
  });

  it('returns 400 for a repeated Authorization header', async (context) => {
    const gateway = await startGateway(context, { door });
    const headers = { authorization: [bearer('alice').authorization, bearer('bob').authorization] };
    assert.equal((await sendRequest(`${gateway.url}/api/users/1`, { headers })).status, 400);
    assert.equal(gateway.users.requests.length, 0);
  });

  it('requires the admin role on admin routes and aggregates', async (context) => {
    const gateway = await startGateway(context, {
      door,
      users: jsonByPath({ '/api/users/stats': { data: { users: 3 } } }),
      orders: jsonByPath({
        '/api/orders/stats': {
          data: { orders: 1, by_status: { pending: { count: 1 }, completed: { count: 0, total: 0 } } },
        },
      }),
    });
    for (const path of ['/api/users/stats', '/api/orders/stats', '/api/dashboard']) {
      assertRejected(await sendRequest(gateway.url + path), 401, 'unauthenticated');
      assertRejected(await sendRequest(gateway.url + path, { headers: bearer('bob') }), 403, 'forbidden');
      assert.equal(
        (await sendRequest(gateway.url + path, { headers: bearer('ann', 'admin') })).status,
        200,
        path,
      );
    }
    const tokens = [...gateway.users.requests, ...gateway.orders.requests].map(
      ({ headers }) => headers.authorization,
    );
    assert.deepEqual(
      new Set(tokens),
      new Set([bearer('ann', 'admin').authorization]),
      'parts are requested with the token of the admin',
    );
    assert.equal(tokens.length, 4);
  });

  it('writes an audit line for each denied write and none for a denied read', async (context) => {
    const { logger, lines } = recordingLogger();
    const table = parseTable(
      `{upstreams: {user-service: {url: 'http://127.0.0.1:1'}}, routes: [
        {path: '/api/users/{id}', methods: [GET, DELETE], upstream: user-service, access: admin}]}`,
      'test',
    );
    const gateway = await startGateway(context, { door, table, logger });
    const url = `${gateway.url}/api/users/1`;
    assertRejected(await sendRequest(url), 401, 'unauthenticated');
    const headers = { 'x-correlation-id': 'c-1' };
    assertRejected(await sendRequest(url, { method: 'DELETE', headers }), 401, 'unauthenticated');
    assertRejected(await sendRequest(url, { method: 'DELETE', headers: bearer('bob') }), 403, 'forbidden');
    await sendRequest(url, { method: 'DELETE', headers: bearer('ann', 'admin') });
    const audited = lines.filter(({ stream }) => stream === 'audit');
    assert.deepEqual(
      audited.map(({ action, outcome, reason, actor_type, actor, entity_id }) => [
        action,
        outcome,
        reason,
        actor_type,
        actor,
        entity_id,
      ]),
      [
        ['route.call', 'denied', 'unauthenticated', 'anonymous', undefined, 'DELETE /api/users/{id}'],
        ['route.call', 'denied', 'forbidden', 'user', 'bob', 'DELETE /api/users/{id}'],
      ],
    );
    assert.equal(audited[0]?.correlation_id, 'c-1');
  });

  it('ignores tokens on public routes and rejects only invalid ones on optional routes', async (context) => {
    const gateway = await startGateway(context, { door });
    const invalidToken = { authorization: 'Bearer made-up' };
    assert.equal(
      (await sendRequest(`${gateway.url}/.well-known/jwks.json`, { headers: invalidToken })).status,
      200,
    );
    assert.equal((await sendRequest(`${gateway.url}/api/users`, { method: 'POST', body: '{}' })).status, 200);
    assertRejected(
      await sendRequest(`${gateway.url}/api/users`, { method: 'POST', body: '{}', headers: invalidToken }),
      401,
      'unauthenticated',
    );
    assertRejected(await sendRequest(`${gateway.url}/api/users`), 401, 'unauthenticated');
  });

  it('returns 503 while the key of a token is unavailable', async (context) => {
    const gateway = await startGateway(context, { door });
    for (const path of ['/api/users/1', '/api/users/1/profile', '/api/users/health', '/api/health']) {
      const result = await sendRequest(gateway.url + path, { headers: { authorization: 'Bearer unknown' } });
      assertRejected(result, 503, 'identity-unavailable');
      assert.equal(result.headers['retry-after'], '1');
    }
    for (const path of ['/api/users/health', '/api/health'])
      assert.equal((await sendRequest(gateway.url + path)).status, 200, `${path} without a token`);
  });

  it('forwards the request body after an asynchronous verification', async (context) => {
    const gateway = await startGateway(context, {
      door,
      users: async (incoming, response) => {
        let bytes = 0;
        for await (const chunk of incoming) bytes += chunk.length;
        response.end(String(bytes));
      },
    });
    const result = await sendRequest(`${gateway.url}/api/users`, {
      method: 'POST',
      headers: bearer('slow'),
      body: Buffer.alloc(300_000),
    });
    assert.deepEqual([result.status, result.text], [200, '300000']);
  });

  it('allows every request when authentication is off, and health reports the mode', async (context) => {
    const withoutAuth = await startGateway(context);
    assert.equal((await sendRequest(`${withoutAuth.url}/api/users/stats`)).status, 200);
    const withAuth = await startGateway(context, { door });
    const modeOf = async (url: string) =>
      JSON.parse((await sendRequest(`${url}/api/health`)).text).data.authentication;
    assert.deepEqual([await modeOf(withoutAuth.url), await modeOf(withAuth.url)], ['off', 'required']);
  });

  it('requires a valid token by default', async (context) => {
    const table = parseTable(
      '{ upstreams: { user-service: {}, order-service: {} }, routes: [{ path: /x, methods: [GET], upstream: user-service }] }',
      'table',
    );
    const gateway = await startGateway(context, { door, table });
    assertRejected(await sendRequest(`${gateway.url}/x`), 401, 'unauthenticated');
    assert.equal((await sendRequest(`${gateway.url}/x`, { headers: bearer('alice') })).status, 200);
  });
});

describe('unverified identity headers', () => {
  it('are not forwarded in any spelling', async (context) => {
    const gateway = await startGateway(context, { door });
    const identityHeaders = [
      'X-User-Id',
      'X_User_Id',
      'x-user-role',
      'Remote-User',
      'X-Auth-Request-Email',
      'X-Real-IP',
    ];
    identityHeaders.push(
      'X-Consumer-Username',
      'X-HTTP-Method-Override',
      'X-Original-URL',
      'X-Forwarded-User',
    );
    identityHeaders.push('X-Forwarded_For', 'X-Ssl-Client-Cert', 'Impersonate-User', 'X-Amzn-Oidc-Identity');
    await sendRequest(`${gateway.url}/api/users/1`, {
      headers: {
        ...bearer('alice'),
        ...Object.fromEntries(identityHeaders.map((name) => [name, 'admin'])),
        'x-other': 'forwarded',
      },
    });
    const { rawHeaders = [], headers } = gateway.users.requests[0] ?? {};
    assert.deepEqual(
      rawHeaders.filter((text) => text === 'admin'),
      [],
    );
    assert.equal(headers?.['x-other'], 'forwarded');
  });
});
