import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { keysPath } from '@zerda/chassis/auth/open-verifier';
import { signatureHeader } from '@zerda/chassis/auth/signature';
import { Deadline } from '@zerda/chassis/deadline';
import { runInContext } from '@zerda/chassis/request-context';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { describePacts } from '@zerda/chassis/testing/pact-consumer';
import { expectedKeys, verifyToken } from '@zerda/chassis/testing/pact-keys';
import { pactAdminToken, pactInvalidToken } from '@zerda/chassis/testing/pact-library';
import { subjectOf } from '@zerda/contracts/events/definition';
import { orderServiceContract } from '@zerda/contracts/order-service/contract';
import { headerNames } from '@zerda/contracts/protocol/headers';
import { userEvents } from '@zerda/contracts/user-service/events';
import { eventMetrics } from '@zerda/events/event-metrics';
import { createReceiver } from '@zerda/events/receiver';
import { createUpstream } from '@zerda/upstream/upstream';
import { migrations } from '../testing/app.ts';
import { createHttpUserDirectory } from './clients/http-user-directory.ts';
import { createSignedUserList } from './clients/signed-user-list.ts';
import { userSubscriptions } from './events/user-subscriptions.ts';
import { readUserState } from './store/known-users.ts';

await describePacts(orderServiceContract.name, new URL('../', import.meta.url), ({ openPact, matchers }) => {
  const userService = openPact('user-service');

  function openUpstream(context: TestContext, baseUrl: string) {
    return createUpstream({
      name: 'user-service',
      baseUrl,
      timeoutMs: 5000,
      maxConnections: 1,
      circuit: { errorPercent: 50, volume: 3, windowMs: 10_000, resetMs: 100_000 },
      metrics: testMetrics(),
      logger: silentLogger(),
      lifecycle: { onShutdown: (_name, close) => context.after(close) },
    });
  }

  /** Looks up user 7 with this access token. */
  function userExists(context: TestContext, url: string, token: string): Promise<boolean> {
    const users = createHttpUserDirectory(openUpstream(context, url));
    const deadline = Deadline.after(5000);
    return runInContext({ correlationId: 'pact', deadline, authorization: `Bearer ${token}` }, () =>
      users.exists(7),
    );
  }

  const requestUser = (token: string) => ({
    target: '/api/users/7',
    headers: { authorization: `Bearer ${token}` },
  });

  it('a user exists', (context) =>
    userService.get(
      {
        description: 'a request for an existing user',
        given: { name: 'a user exists', params: { id: 7 } },
        request: requestUser(pactAdminToken),
        status: 200,
      },
      async (url) => assert.equal(await userExists(context, url, pactAdminToken), true),
    ));

  it('a user does not exist', (context) =>
    userService.get(
      {
        description: 'a request for an unknown user',
        given: { name: 'no user exists' },
        request: requestUser(pactAdminToken),
        status: 404,
        headers: { [headerNames.problem]: 'user-not-found' },
      },
      async (url) => assert.equal(await userExists(context, url, pactAdminToken), false),
    ));

  it('the access token is rejected', (context) =>
    userService.get(
      {
        description: 'a request for a user with an invalid access token',
        given: { name: 'a user exists', params: { id: 7 } },
        request: requestUser(pactInvalidToken),
        status: 401,
      },
      (url) => assert.rejects(userExists(context, url, pactInvalidToken), { code: 'unauthenticated' }),
    ));

  function openUserList(context: TestContext, url: string) {
    return createSignedUserList({
      userService: openUpstream(context, url),
      secrets: ['a secret of services'],
    });
  }

  const signature = matchers.regex(/^t=\d+(,v1=[0-9a-f]{64})+$/, `t=1767225600,v1=${'0'.repeat(64)}`);
  const users = { name: 'a user exists', params: { id: 7 } };

  it('a page of user ids', (context) =>
    userService.get(
      {
        description: 'a signed request for the first page of user ids',
        given: users,
        request: { target: '/user-ids?after=0&limit=100', headers: { [signatureHeader]: signature } },
        status: 200,
        body: { ids: matchers.eachLike(matchers.integer(7)) },
      },
      async (url) => assert.deepEqual(await openUserList(context, url).idsAfter(0), [7]),
    ));

  it('one user id', (context) =>
    userService.get(
      {
        description: 'a signed request for the first user id after another',
        given: users,
        request: { target: '/user-ids?after=6&limit=1', headers: { [signatureHeader]: signature } },
        status: 200,
        body: { ids: [7] },
      },
      async (url) => assert.equal(await openUserList(context, url).exists(7), true),
    ));

  it('no user id', (context) =>
    userService.get(
      {
        description: 'a signed request for user ids after the last one',
        given: users,
        request: { target: '/user-ids?after=7&limit=100', headers: { [signatureHeader]: signature } },
        status: 200,
        body: { ids: [] },
      },
      async (url) => assert.deepEqual(await openUserList(context, url).idsAfter(7), []),
    ));

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

  const id = matchers.integer(7);
  const instant = matchers.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, '2026-01-01T00:00:00.000Z');
  const changed = {
    id,
    role: matchers.regex(/^(user|admin)$/, 'user'),
    created_at: instant,
    updated_at: instant,
  };
  const events = [
    { definition: userEvents.userCreated, data: changed, state: 'known' },
    { definition: userEvents.userUpdated, data: changed, state: 'known' },
    { definition: userEvents.userDeleted, data: { id, deleted_at: instant }, state: 'deleted' },
  ];

  for (const { definition, data, state } of events) {
    it(`${definition.type} makes the user ${state}`, async (context) => {
      const database = await openTestPglite(migrations);
      context.after(() => database.close());
      const receiver = createReceiver({
        database,
        subscriptions: userSubscriptions,
        logger: silentLogger(),
        metrics: eventMetrics(testMetrics().registry),
      });
      await userService.receive(
        {
          description: `the event ${definition.type}`,
          given: { name: 'no user exists' },
          event: {
            specversion: '1.0',
            id: matchers.uuid('6a5f3c1e-58a1-4b0c-9a43-0d6c3c1f7a10'),
            source: definition.source,
            type: definition.type,
            subject: matchers.regex(/^users\/[1-9]\d*$/, subjectOf(definition, 7)),
            time: instant,
            datacontenttype: 'application/json',
            sequence: matchers.regex(/^\d{10}$/, '0000000001'),
            data,
          },
        },
        async (event) => {
          const { outcome } = await receiver.receive(JSON.stringify(event));
          assert.equal(outcome, 'applied');
          assert.equal(await database.query((db) => readUserState(db, 7)), state);
        },
      );
    });
  }
});
