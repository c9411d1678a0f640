import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseTable } from '../routes/read-table.ts';
import { ask, jsonByPath, startGateway, type TestAnswer } from '../testing.ts';
import { bearer, testVerifier } from './testing-verifier.ts';

const door = { authentication: testVerifier };

function assertRefused(answer: TestAnswer, status: number, code: string): void {
  assert.deepEqual([answer.status, answer.headers['x-problem']], [status, code], answer.text);
  if (status !== 503) assert.match(answer.headers['www-authenticate'] ?? '', /^Bearer realm=/);
}

describe('who is let in', () => {
  it('is whoever has a valid token, which goes on to the service as it came', async (context) => {
    const gateway = await startGateway(context, { door });
    const answer = await ask(`${gateway.url}/api/users/1`, { headers: bearer('alice') });
    assert.equal(answer.status, 200);
    assert.equal(gateway.users.requests[0]?.headers.authorization, bearer('alice').authorization);

    assertRefused(await ask(`${gateway.url}/api/users/1`), 401, 'unauthenticated');
    for (const authorization of [
      'Bearer made-up',
      'Basic YTpi',
      'Bearer ',
      'Bearer a b',
      `Bearer ${'a'.repeat(9000)}`,
    ])
      assertRefused(
        await ask(`${gateway.url}/api/users/1`, { headers: { authorization } }),
        401,
        'unauthenticated',
      );
    assert.equal(gateway.users.requests.length, 1, 'nobody else was passed on');
  });

  it('is told by the first of all headers that could say so, so one that comes twice is refused', async (context) => {
    const gateway = await startGateway(context, { door });
    const headers = { authorization: [bearer('alice').authorization, bearer('bob').authorization] };
    assert.equal((await ask(`${gateway.url}/api/users/1`, { headers })).status, 400);
    assert.equal(gateway.users.requests.length, 0);
  });

  it('is an admin where the route is for admins, on aggregates too', async (context) => {
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
      assertRefused(await ask(gateway.url + path), 401, 'unauthenticated');
      assertRefused(await ask(gateway.url + path, { headers: bearer('bob') }), 403, 'forbidden');
      assert.equal((await ask(gateway.url + path, { headers: bearer('ann', 'admin') })).status, 200, path);
    }
    const asked = [...gateway.users.requests, ...gateway.orders.requests].map(
      ({ headers }) => headers.authorization,
    );
    assert.deepEqual(
      new Set(asked),
      new Set([bearer('ann', 'admin').authorization]),
      'parts are asked for in her name',
    );
    assert.equal(asked.length, 4);
  });

  it('is everybody where the route says so: without looking at the token, or refusing one that is not valid', async (context) => {
    const gateway = await startGateway(context, { door });
    const bad = { authorization: 'Bearer made-up' };
    assert.equal((await ask(`${gateway.url}/.well-known/jwks.json`, { headers: bad })).status, 200);
    assert.equal((await ask(`${gateway.url}/api/users`, { method: 'POST', body: '{}' })).status, 200);
    assertRefused(
      await ask(`${gateway.url}/api/users`, { method: 'POST', body: '{}', headers: bad }),
      401,
      'unauthenticated',
    );
    assertRefused(await ask(`${gateway.url}/api/users`), 401, 'unauthenticated');
  });

  it('is not known while the keys are not: that is 503, and not the fault of the token', async (context) => {
    const gateway = await startGateway(context, { door });
    for (const path of ['/api/users/1', '/api/users/1/profile', '/api/users/health', '/api/health']) {
      const answer = await ask(gateway.url + path, { headers: { authorization: 'Bearer unknown' } });
      assertRefused(answer, 503, 'identity-unavailable');
      assert.equal(answer.headers['retry-after'], '1');
    }
    for (const path of ['/api/users/health', '/api/health'])
      assert.equal((await ask(gateway.url + path)).status, 200, `${path} without a token`);
  });

  it('waits with the body of a request until its token was looked at', async (context) => {
    const gateway = await startGateway(context, {
      door,
      users: async (incoming, response) => {
        let bytes = 0;
        for await (const chunk of incoming) bytes += chunk.length;
        response.end(String(bytes));
      },
    });
    const answer = await ask(`${gateway.url}/api/users`, {
      method: 'POST',
      headers: bearer('slow'),
      body: Buffer.alloc(300_000),
    });
    assert.deepEqual([answer.status, answer.text], [200, '300000']);
  });

  it('is everybody when authentication is off, and health says which it is', async (context) => {
    const open = await startGateway(context);
    assert.equal((await ask(`${open.url}/api/users/stats`)).status, 200);
    const closed = await startGateway(context, { door });
    const said = async (url: string) => JSON.parse((await ask(`${url}/api/health`)).text).data.authentication;
    assert.deepEqual([await said(open.url), await said(closed.url)], ['off', 'required']);
  });

  it('is whoever has a token in a table that says nothing of it', async (context) => {
    const table = parseTable(
      '{ upstreams: { user-service: {}, order-service: {} }, routes: [{ path: /x, methods: [GET], upstream: user-service }] }',
      'table',
    );
    const gateway = await startGateway(context, { door, table });
    assertRefused(await ask(`${gateway.url}/x`), 401, 'unauthenticated');
    assert.equal((await ask(`${gateway.url}/x`, { headers: bearer('alice') })).status, 200);
  });
});

describe('headers that say who asks without proof', () => {
  it('do not reach a service, however they are written', async (context) => {
    const gateway = await startGateway(context, { door });
    const lies = [
      'X-User-Id',
      'X_User_Id',
      'x-user-role',
      'Remote-User',
      'X-Auth-Request-Email',
      'X-Real-IP',
    ];
    lies.push('X-Consumer-Username', 'X-HTTP-Method-Override', 'X-Original-URL', 'X-Forwarded-User');
    lies.push('X-Forwarded_For', 'X-Ssl-Client-Cert', 'Impersonate-User', 'X-Amzn-Oidc-Identity');
    await ask(`${gateway.url}/api/users/1`, {
      headers: {
        ...bearer('alice'),
        ...Object.fromEntries(lies.map((name) => [name, 'admin'])),
        'x-mine': 'kept',
      },
    });
    const { rawHeaders = [], headers } = gateway.users.requests[0] ?? {};
    assert.deepEqual(
      rawHeaders.filter((text) => text === 'admin'),
      [],
    );
    assert.equal(headers?.['x-mine'], 'kept');
  });
});
