import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { keysPath } from '@zerda/chassis/auth/open-verifier';
import { sendRequest } from '@zerda/chassis/testing/http';
import { startHttpServer } from '@zerda/chassis/testing/http-server';
import { describePacts } from '@zerda/chassis/testing/pact-consumer';
import { expectedKeys, verifyToken } from '@zerda/chassis/testing/pact-keys';
import { pactAdminToken } from '@zerda/chassis/testing/pact-library';
import { gatewayContract } from '@zerda/contracts/gateway/contract';
import { orderStatuses } from '@zerda/contracts/order-service/orders';
import { headerNames } from '@zerda/contracts/protocol/headers';
import { userRoles } from '@zerda/contracts/user-service/users';
import { startGateway } from '../testing/gateway.ts';
import { sendJson } from '../testing/stub-service.ts';
import { testVerifier } from '../testing/verifier.ts';

/** Aggregates, the health check and the keys of access tokens, which read responses. Forwarded responses are the contract of the service and its client. */
await describePacts(gatewayContract.name, new URL('../', import.meta.url), ({ openPact, matchers }) => {
  const userService = openPact('user-service');
  const orderService = openPact('order-service');
  const { getProfile, getDashboard, getHealth } = gatewayContract.operations;

  /** Sends a request of an admin to a gateway before these services. A service without a URL responds with 503. */
  async function requestGateway(
    context: TestContext,
    urls: Readonly<Record<string, string>>,
    path: string,
    token: string | undefined = pactAdminToken,
  ) {
    const { url } = await startGateway(context, {
      others: urls,
      users: (_request, response) => sendJson(response, 503, {}),
      orders: (_request, response) => sendJson(response, 503, {}),
      door: { authentication: testVerifier },
    });
    const { status, body } = await sendRequest(url + path, { token });
    return { status, body };
  }

  const integer = matchers.integer;
  const instant = matchers.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, '2026-01-01T00:00:00.000Z');
  const oneOf = (values: readonly string[]) =>
    matchers.regex(new RegExp(`^(${values.join('|')})$`), values[0] ?? '');
  const authorized = { headers: { authorization: `Bearer ${pactAdminToken}` } };

  const userRequest = {
    description: 'a request for an existing user',
    given: { name: 'a user exists', params: { id: 7 } },
    request: { target: '/api/users/7', ...authorized },
    status: 200,
    body: {
      data: {
        id: 7,
        name: matchers.string('Ada'),
        email: matchers.string('ada@example.com'),
        role: oneOf(userRoles),
        created_at: instant,
        updated_at: instant,
      },
    },
  };
  const order = {
    id: integer(1),
    user_id: 7,
    product: matchers.string('Laptop'),
    quantity: integer(1),
    total: matchers.number(999.99),
    status: oneOf(orderStatuses),
    created_at: instant,
    updated_at: instant,
  };

  for (const { title, count, next } of [
    { title: 'all orders of a user', count: 2, next: null },
    { title: 'the first page of the orders of a user', count: 101, next: matchers.string('2s') },
  ]) {
    it(`a profile with ${title}`, (context) =>
      userService.get(userRequest, (users) =>
        orderService.get(
          {
            description: `a request for ${title}`,
            given: { name: 'a user has orders', params: { user_id: 7, count } },
            request: { target: '/api/orders/user/7', ...authorized },
            status: 200,
            body: { data: matchers.eachLike(order), page: { next, total: count } },
          },
          async (orders) => {
            const urls = { 'user-service': users, 'order-service': orders };
            const { status, body } = await requestGateway(context, urls, '/api/users/7/profile');
            assert.equal(status, 200);
            const { data } = getProfile.response.schema.parse(body);
            assert.deepEqual(
              [data.user.id, data.orders?.length, data.total_orders, typeof data.next_orders, data.degraded],
              [7, 1, count, next === null ? 'undefined' : 'string', undefined],
            );
          },
        ),
      ));
  }

  it('a profile of an unknown user', (context) =>
    userService.get(
      {
        description: 'a request for an unknown user',
        given: { name: 'no user exists' },
        request: { target: '/api/users/7', ...authorized },
        status: 404,
        headers: { [headerNames.problem]: 'user-not-found' },
      },
      async (users) => {
        const { status, body } = await requestGateway(
          context,
          { 'user-service': users },
          '/api/users/7/profile',
        );
        assert.deepEqual([status, (body as { type: string }).type], [404, '/problems/user-not-found']);
      },
    ));

  it('the dashboard', (context) =>
    userService.get(
      {
        description: 'a request for the number of users',
        given: { name: 'a user exists', params: { id: 7 } },
        request: { target: '/api/users/stats', ...authorized },
        status: 200,
        body: { data: { users: integer(1) } },
      },
      (users) =>
        orderService.get(
          {
            description: 'a request for the totals of orders',
            given: { name: 'a user has orders', params: { user_id: 7, count: 2 } },
            request: { target: '/api/orders/stats', ...authorized },
            status: 200,
            body: {
              data: {
                orders: integer(2),
                by_status: {
                  pending: { count: integer(2) },
                  completed: { count: integer(0), total: matchers.number(0) },
                },
              },
            },
          },
          async (orders) => {
            const urls = { 'user-service': users, 'order-service': orders };
            const { status, body } = await requestGateway(context, urls, '/api/dashboard');
            assert.equal(status, 200);
            assert.deepEqual(getDashboard.response.schema.parse(body).data, {
              total_users: 1,
              total_orders: 2,
              pending_orders: 2,
              completed_orders: 0,
              total_revenue: 0,
            });
          },
        ),
    ));

  it('the health of the system', (context) => {
    const health = (service: string, path: string) => ({
      description: `a request for the health of ${service}`,
      given: { name: service === 'user-service' ? 'no user exists' : 'no order exists' },
      request: { target: path },
      status: 200,
      body: { data: { service, status: 'healthy' } },
    });
    return userService.get(health('user-service', '/api/users/health'), (users) =>
      orderService.get(health('order-service', '/api/orders/health'), async (orders) => {
        const urls = { 'user-service': users, 'order-service': orders };
        const { status, body } = await requestGateway(context, urls, getHealth.path, undefined);
        assert.equal(status, 200);
        assert.equal(getHealth.response.schema.parse(body).data.overall_status, 'healthy');
      }),
    );
  });

  it('the keys of access tokens', () =>
    userService.get(
      {
        description: 'a request for the keys of access tokens',
        given: { name: 'no user exists' },
        request: { target: keysPath },
        status: 200,
        body: expectedKeys({ matchers }),
      },
      async (url) => assert.equal((await verifyToken({ userServiceUrl: url })).userId, 7),
    ));

  it('the copy of the keys while user-service is unavailable', async (context) => {
    const { url: userServiceUrl, stop } = await startHttpServer(context, () => undefined);
    await stop();
    await orderService.get(
      {
        description: 'a request for the copy of the keys of access tokens',
        given: { name: 'the keys of access tokens are known' },
        request: { target: keysPath },
        status: 200,
        headers: { age: matchers.regex(/^\d{1,9}$/, '60') },
        body: expectedKeys({ matchers }),
      },
      async (copyUrl) => assert.equal((await verifyToken({ userServiceUrl, copyUrl })).userId, 7),
    );
  });
});
