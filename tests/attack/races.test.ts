import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { HttpResponse } from '../../packages/chassis/testing/http.ts';
import { createRandom, type Random } from '../faults/lib/random.ts';
import { createAddresses } from './lib/addresses.ts';
import { openTarget, type Target, type User } from './lib/target.ts';

/** Total number of random interleavings, spread over the pairs. */
const rounds = Number(process.env.ATTACK_ROUNDS ?? 200);
const seed = Number(process.env.ATTACK_SEED ?? Date.now() % 1_000_000);
/** Number of concurrent rounds, each with its own user. */
const concurrency = 4;
/** Maximum random delay of the requests of a round in milliseconds. */
const spreadMs = 60;

/** A user and the requests of one round. */
interface Round {
  readonly user: User;
  readonly role: 'admin' | 'user';
  readonly token: string;
  /** Refresh token of a session that started before the round. */
  readonly refreshToken: string;
  readonly sent: { readonly action: ActionName; readonly response: HttpResponse; readonly value: string }[];
}

const actionNames = [
  'login',
  'refresh',
  'logout',
  'change password',
  'change e-mail',
  'change role',
  'delete user',
] as const;

type ActionName = (typeof actionNames)[number];

/** Allowed statuses of each action under any interleaving. */
const allowed: Readonly<Record<ActionName, readonly number[]>> = {
  login: [200, 401],
  refresh: [200, 401],
  logout: [200],
  'change password': [200, 404, 422],
  // A user can probe three e-mail addresses a day.
  'change e-mail': [200, 404, 422, 429],
  'change role': [200, 404],
  'delete user': [200, 404],
};

describe('concurrent requests on one user, two of each action', () => {
  let target: Target;
  const addresses = createAddresses(40);

  before(async () => {
    // Settings under which neither the password queue nor a rate limit rejects a request.
    target = await openTarget({ PASSWORD_CONCURRENCY: '4', PASSWORD_QUEUE: '500', RATE_LIMIT_FACTOR: '10' });
  });
  after(() => target?.close());

  /** Returns a new client address, so that no limit per address applies. */
  const newAddress = (): string => addresses.next();

  const logIn = (user: Pick<User, 'email' | 'password'>) => target.tryLogIn(user, newAddress());
  const refresh = (refresh_token: string) =>
    target.client.send('POST', '/api/auth/refresh', { from: newAddress(), json: { refresh_token } });

  /** Sends one action. `value` is the new password or e-mail address. */
  async function act(
    name: ActionName,
    { user, token, refreshToken }: Round,
    value: string,
  ): Promise<HttpResponse> {
    const { client } = target;
    const [path, from] = [`/api/users/${user.id}`, newAddress()];
    switch (name) {
      case 'login':
        return logIn(user);
      case 'refresh':
        return refresh(refreshToken);
      case 'logout':
        return client.send('POST', '/api/auth/logout', { json: { refresh_token: refreshToken } });
      case 'change password':
        return client.send('PUT', path, {
          token,
          from,
          json: { password: value, current_password: user.password },
        });
      case 'change e-mail':
        return client.send('PUT', path, {
          token,
          from,
          json: { email: value, current_password: user.password },
        });
      case 'change role':
        return client.send('PUT', path, { token: await target.adminToken(), json: { role: 'user' } });
      case 'delete user':
        return client.send('DELETE', path, { token });
    }
  }

  async function play(pair: readonly [ActionName, ActionName], random: Random): Promise<Round> {
    const role = random.chance(0.5) ? 'admin' : 'user';
    const user = await target.createUser({ role });
    const tokens = await target.logIn(user, newAddress());
    const round: Round = {
      user,
      role,
      token: tokens.access_token,
      refreshToken: tokens.refresh_token,
      sent: [],
    };
    await Promise.all(
      random.shuffle([...pair, ...pair]).map(async (action, index) => {
        await wait(random.between(0, spreadMs));
        const value =
          action === 'change e-mail' ? `moved${index}.${user.email}` : `${index} changed ${user.password}`;
        let response = await act(action, round, value);
        // On a busy machine a request can time out in the password queue. Clients retry it.
        while (response.body?.type === '/problems/login-overloaded') {
          await wait(1000);
          response = await act(action, round, value);
        }
        round.sent.push({ action, value, response });
      }),
    );
    return round;
  }

  /** Checks the invariants that hold after every interleaving. */
  async function check(round: Round): Promise<void> {
    const { user, role, token, refreshToken, sent } = round;
    for (const { action, response } of sent)
      assert.ok(
        allowed[action].includes(response.status),
        `${action} got ${response.status} ${JSON.stringify(response.body)}`,
      );
    const succeeded = (action: ActionName) =>
      sent.filter((request) => request.action === action && request.response.status === 200);

    const isDeleted = succeeded('delete user').length > 0;
    assert.ok(succeeded('delete user').length <= 1, 'a user is deleted once');
    assert.ok(succeeded('change password').length <= 1, 'the current password is accepted for one change');

    const [newPassword] = succeeded('change password').map(({ value }) => value);
    const passwords = [
      user.password,
      ...sent.filter(({ action }) => action === 'change password').map(({ value }) => value),
    ];
    const emails = [
      user.email,
      ...sent.filter(({ action }) => action === 'change e-mail').map(({ value }) => value),
    ];
    const validLogins: string[] = [];
    for (const email of emails)
      for (const password of new Set(passwords)) {
        const { status } = await logIn({ email, password });
        assert.ok(status === 200 || status === 401, `login got ${status}`);
        if (status === 200) validLogins.push(`${email} ${password}`);
      }
    if (isDeleted) assert.deepEqual(validLogins, [], 'a deleted user cannot log in');
    else {
      assert.equal(validLogins.length, 1, 'exactly one pair of e-mail address and password is valid');
      assert.ok(
        validLogins[0]?.endsWith(` ${newPassword ?? user.password}`),
        'the acknowledged password is valid',
      );
    }

    const loggedOut = succeeded('logout').length > 0;
    const ended = isDeleted || newPassword !== undefined;
    const sessions = [
      { ended: ended || loggedOut, token: refreshToken },
      ...succeeded('refresh').map(({ response }) => ({
        ended: ended || loggedOut,
        token: response.body.data.refresh_token,
      })),
      ...succeeded('login').map(({ response }) => ({ ended, token: response.body.data.refresh_token })),
    ];
    for (const session of sessions) {
      if (!session.ended) continue;
      assert.equal((await refresh(session.token)).status, 401, 'an ended session cannot be refreshed');
    }

    const wasAdmin = role === 'admin';
    const isAdminNow = wasAdmin && !isDeleted && succeeded('change role').length === 0;
    const otherUser = await target.createUser();
    const promotion = { token, json: { role: 'admin' } };
    const { status } = await target.client.send('PUT', `/api/users/${otherUser.id}`, promotion);
    assert.equal(status, isAdminNow ? 200 : 403, 'only current admins change roles');
  }

  const pairs = actionNames.flatMap((first, index) =>
    actionNames.slice(index).map((second): readonly [ActionName, ActionName] => [first, second]),
  );

  for (const [index, pair] of pairs.entries()) {
    it(`${pair.join(' and ')} leave no session, credential or role that should have ended`, async (context) => {
      const random = createRandom(seed + index);
      const pairRounds = Math.ceil(rounds / pairs.length);
      assert.ok(pairRounds > 0);
      let checked = 0;
      for (let round = 0; round < pairRounds; round += concurrency) {
        const batch = await Promise.all(
          Array.from({ length: Math.min(concurrency, pairRounds - round) }, () => play(pair, random)),
        );
        for (const played of batch) {
          await check(played).catch((error: unknown) => {
            context.diagnostic(
              `ATTACK_SEED=${seed}: ${JSON.stringify(played.sent.map(({ action, response }) => [action, response.status]))}`,
            );
            throw error;
          });
          checked += 1;
        }
      }
      assert.equal(checked, pairRounds);
    });
  }
});
