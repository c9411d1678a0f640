import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { createRandom, type Random } from '../faults/lib/random.ts';
import { createAddresses } from './lib/addresses.ts';
import type { Response } from './lib/client.ts';
import { openTarget, type Target, type User } from './lib/target.ts';

/** Interleavings in all, spread over the pairs. */
const rounds = Number(process.env.ATTACK_ROUNDS ?? 200);
const seed = Number(process.env.ATTACK_SEED ?? Date.now() % 1_000_000);
/** Rounds that run side by side, each on users of its own. */
const concurrency = 4;
/** Milliseconds within which the requests of a round are sent. */
const spreadMs = 60;

/** What one user has, and what was sent and acknowledged in one round. */
interface Round {
  readonly user: User;
  readonly role: 'admin' | 'user';
  readonly token: string;
  /** Refresh token of a session that began before the round. */
  readonly refreshToken: string;
  readonly sent: { readonly action: ActionName; readonly response: Response; readonly value: string }[];
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

/** Statuses that an action may get under any interleaving. */
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

describe('two of each pair of requests on one user at once', () => {
  let target: Target;
  const addresses = createAddresses(40);

  before(async () => {
    // Neither the queue nor a limit is to decide a race.
    target = await openTarget({ PASSWORD_CONCURRENCY: '4', PASSWORD_QUEUE: '500', RATE_LIMIT_FACTOR: '10' });
  });
  after(() => target?.close());

  /** Another client each time, so that no limit of an address decides. */
  const elsewhere = (): string => addresses.next();

  const logIn = (user: Pick<User, 'email' | 'password'>) => target.tryLogIn(user, elsewhere());
  const refresh = (refresh_token: string) =>
    target.client.send('POST', '/api/auth/refresh', { from: elsewhere(), json: { refresh_token } });

  /** Sends one action; `value` is what it sets. */
  async function act(
    name: ActionName,
    { user, token, refreshToken }: Round,
    value: string,
  ): Promise<Response> {
    const { client } = target;
    const [path, from] = [`/api/users/${user.id}`, elsewhere()];
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
    const tokens = await target.logIn(user, elsewhere());
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
        // On a busy machine a request may wait too long for its turn; it is then sent again, as its client would.
        while (response.body?.type === '/problems/login-overloaded') {
          await wait(1000);
          response = await act(action, round, value);
        }
        round.sent.push({ action, value, response });
      }),
    );
    return round;
  }

  /** Checks what holds after every interleaving. */
  async function check(round: Round): Promise<void> {
    const { user, role, token, refreshToken, sent } = round;
    for (const { action, response } of sent)
      assert.ok(
        allowed[action].includes(response.status),
        `${action} got ${response.status} ${JSON.stringify(response.body)}`,
      );
    const done = (action: ActionName) =>
      sent.filter((each) => each.action === action && each.response.status === 200);

    const isDeleted = done('delete user').length > 0;
    assert.ok(done('delete user').length <= 1, 'a user is deleted once');
    assert.ok(done('change password').length <= 1, 'one old password proves one change');

    const [newPassword] = done('change password').map(({ value }) => value);
    const passwords = [
      user.password,
      ...sent.filter(({ action }) => action === 'change password').map(({ value }) => value),
    ];
    const emails = [
      user.email,
      ...sent.filter(({ action }) => action === 'change e-mail').map(({ value }) => value),
    ];
    const opened: string[] = [];
    for (const email of emails)
      for (const password of new Set(passwords)) {
        const { status } = await logIn({ email, password });
        assert.ok(status === 200 || status === 401, `login got ${status}`);
        if (status === 200) opened.push(`${email} ${password}`);
      }
    if (isDeleted) assert.deepEqual(opened, [], 'a deleted user does not log in');
    else {
      assert.equal(opened.length, 1, 'one e-mail address and one password belong to the user');
      assert.ok(
        opened[0]?.endsWith(` ${newPassword ?? user.password}`),
        'the acknowledged password is the one',
      );
    }

    const loggedOut = done('logout').length > 0;
    const ended = isDeleted || newPassword !== undefined;
    const families = [
      { ended: ended || loggedOut, token: refreshToken },
      ...done('refresh').map(({ response }) => ({
        ended: ended || loggedOut,
        token: response.body.data.refresh_token,
      })),
      ...done('login').map(({ response }) => ({ ended, token: response.body.data.refresh_token })),
    ];
    for (const family of families) {
      if (!family.ended) continue;
      assert.equal((await refresh(family.token)).status, 401, 'no session outlives what ends it');
    }

    const wasAdmin = role === 'admin';
    const isAdminNow = wasAdmin && !isDeleted && done('change role').length === 0;
    const friend = await target.createUser();
    const gift = { token, json: { role: 'admin' } };
    const { status } = await target.client.send('PUT', `/api/users/${friend.id}`, gift);
    assert.equal(status, isAdminNow ? 200 : 403, 'roles are given by present admins');
  }

  const pairs = actionNames.flatMap((one, index) =>
    actionNames.slice(index).map((other): readonly [ActionName, ActionName] => [one, other]),
  );

  for (const [index, pair] of pairs.entries()) {
    it(`${pair.join(' and ')} leave nothing that should have ended`, async (context) => {
      const random = createRandom(seed + index);
      const own = Math.ceil(rounds / pairs.length);
      assert.ok(own > 0);
      let checked = 0;
      for (let round = 0; round < own; round += concurrency) {
        const some = await Promise.all(
          Array.from({ length: Math.min(concurrency, own - round) }, () => play(pair, random)),
        );
        for (const each of some) {
          await check(each).catch((error: unknown) => {
            context.diagnostic(
              `ATTACK_SEED=${seed}: ${JSON.stringify(each.sent.map(({ action, response }) => [action, response.status]))}`,
            );
            throw error;
          });
          checked += 1;
        }
      }
      assert.equal(checked, own);
    });
  }
});
