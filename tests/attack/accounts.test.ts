import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { HttpResponse } from '../../packages/chassis/testing/http.ts';
import { createAddresses } from './lib/addresses.ts';
import { openTarget, type Target, type User } from './lib/target.ts';

describe('accounts', () => {
  let target: Target;
  const addresses = createAddresses(100);

  before(async () => {
    target = await openTarget();
  });
  after(() => target?.close());

  const send: Target['client']['send'] = (...request) => target.client.send(...request);

  /** Returns a new client address, so that no limit per address applies. */
  const newAddress = (): string => addresses.next();

  const update = (id: number, token: string, json: object) =>
    send('PUT', `/api/users/${id}`, { token, json, from: newAddress() });
  const tokenOf = async (user: User) => (await target.logIn(user, newAddress())).access_token;
  const isPassword = async ({ email }: Pick<User, 'email'>, password: string) =>
    (await target.tryLogIn({ email, password }, newAddress())).status === 200;

  it('keep their password when the e-mail address moves to another user during a queued password change', async (context) => {
    let set = 0;
    for (let round = 0; round < 5; round += 1) {
      const [victim, thief] = [await target.createUser(), await target.createUser()];
      const stolen = await tokenOf(victim);
      const [admin, stop] = [await target.adminToken(), new AbortController()];
      // Logins of unknown users fill the password queue.
      const filling = Promise.all(
        Array.from({ length: 40 }, async (_, index) => {
          while (!stop.signal.aborted) {
            await target.tryLogIn({ email: `unknown${index}@example.com`, password: 'x' }, newAddress());
          }
        }),
      );
      const attack = update(victim.id, stolen, {
        password: 'set by the thief',
        current_password: thief.password,
      });
      await update(victim.id, admin, { email: `moved.${victim.email}` });
      await update(thief.id, admin, { email: victim.email });
      const { status } = await attack;
      stop.abort();
      await filling;
      assert.ok([422, 503].includes(status), String(status));
      if (await isPassword({ email: `moved.${victim.email}` }, 'set by the thief')) set += 1;
    }
    context.diagnostic(`${set} of 5 passwords were set`);
    assert.equal(set, 0);
  });

  it('keep no session that started with the replaced password', async (context) => {
    const refresh = async (refresh_token: string) =>
      (await send('POST', '/api/auth/refresh', { json: { refresh_token } })).status;
    const survivors: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const user = await target.createUser();
      const token = await tokenOf(user);
      const logins: Promise<HttpResponse>[] = [];
      const json = { password: `replaced in round ${round}`, current_password: user.password };
      const change = update(user.id, token, json);
      for (let login = 0; login < 4; login += 1) {
        logins.push(target.tryLogIn(user, newAddress()));
        await wait(7);
      }
      assert.equal((await change).status, 200);
      for (const { status, body } of await Promise.all(logins)) {
        if (status !== 200) continue;
        survivors.push(await refresh(body.data.refresh_token));
      }
      const after = await target.logIn({ email: user.email, password: json.password }, newAddress());
      assert.equal(await refresh(after.refresh_token), 200);
    }
    context.diagnostic(`sessions started during the change: ${survivors.length}`);
    assert.ok(survivors.length > 0);
    assert.deepEqual(
      survivors,
      survivors.map(() => 401),
    );
  });

  it('accept one of four concurrent password changes with the same current password', async () => {
    const user = await target.createUser();
    const token = await tokenOf(user);
    const changes = await Promise.all(
      Array.from({ length: 4 }, (_, index) =>
        update(user.id, token, { password: `change number ${index}`, current_password: user.password }),
      ),
    );
    const accepted = changes.filter(({ status }) => status === 200);
    assert.equal(accepted.length, 1, changes.map(({ status }) => status).join());
  });

  for (const [state, end] of [
    ['demoted', (root: string, { id }: User) => update(id, root, { role: 'user' })],
    ['deleted', (root: string, { id }: User) => send('DELETE', `/api/users/${id}`, { token: root })],
  ] as const) {
    it(`reject admin writes of a ${state} admin with a valid access token`, async () => {
      const [admin, other] = [await target.createUser({ role: 'admin' }), await target.createUser()];
      const token = await tokenOf(admin);
      const root = await target.adminToken();
      assert.equal((await end(root, admin)).status, 200);
      const created = { email: `evil.${admin.email}`, password: 'a password of an evil admin' };
      const attempts: Record<string, HttpResponse> = {
        'own role': await update(admin.id, token, { role: 'admin' }),
        'role of another user': await update(other.id, token, { role: 'admin' }),
        'password of another user': await update(other.id, token, { password: 'taken over by an admin' }),
        'e-mail address of another user': await update(other.id, token, { email: `taken.${other.email}` }),
        'new admin': await send('POST', '/api/users', {
          token,
          json: { name: 'Evil', role: 'admin', ...created },
        }),
        'deletion of another user': await send('DELETE', `/api/users/${other.id}`, { token }),
      };
      for (const [name, { status }] of Object.entries(attempts))
        assert.ok([403, 404].includes(status), `${name}: ${status}`);
      assert.ok(await isPassword(other, other.password));
      assert.equal(await isPassword(created, created.password), false);
      const { body } = await send('GET', `/api/users/${other.id}`, { token: root });
      assert.equal(body.data.role, 'user');
    });
  }

  it('reject common passwords in any spelling', async () => {
    let serial = 0;
    const token = await target.adminToken();
    const spellings = (password: string) => [
      password,
      password.toUpperCase(),
      ` ${password} `,
      [...password].join('\u200b'),
      `\ufeff${password}`,
      password.replace(/[a-z]/g, (letter) => String.fromCodePoint((letter.codePointAt(0) ?? 0) + 0xfee0)),
    ];
    for (const common of [
      'password',
      'qwertyuiop',
      'iloveyou1',
      'sunshine',
      'football1',
      'trustno1',
      'changeme',
    ])
      for (const password of spellings(common)) {
        serial += 1;
        const json = { name: 'Common', email: `common${serial}@example.com`, password };
        const { status, body } = await send('POST', '/api/users', { token, json });
        assert.deepEqual([status, body.errors?.[0]?.path], [422, 'password'], JSON.stringify(password));
      }
  });

  it('let a user probe only three e-mail addresses', async (context) => {
    const user = await target.createUser();
    const token = await tokenOf(user);
    const { email: taken } = await target.createUser();
    const statuses: Record<string, number> = {};
    for (let probe = 0; probe < 300; probe += 1) {
      const email = probe % 2 === 0 ? taken : `free${probe}.${user.email}`;
      const { status } = await update(user.id, token, { email, current_password: user.password });
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
    context.diagnostic(JSON.stringify(statuses));
    assert.equal((statuses[200] ?? 0) + (statuses[409] ?? 0), 3);
  });

  it('need the current password to change the e-mail address', async () => {
    const user = await target.createUser();
    const token = await tokenOf(user);
    assert.equal((await update(user.id, token, { email: `thief.${user.email}` })).status, 422);
    assert.ok(await isPassword(user, user.password));
  });

  it('can be deleted during a login without a server error', async () => {
    for (let round = 0; round < 10; round += 1) {
      const user = await target.createUser();
      const token = await tokenOf(user);
      const login = target.tryLogIn(user, newAddress());
      await wait(3 * round);
      const { status } = await send('DELETE', `/api/users/${user.id}`, { token });
      assert.equal(status, 200);
      assert.ok([200, 401].includes((await login).status));
    }
  });

  it('can be created with an Idempotency-Key that another anonymous client has used', async () => {
    const signUp = (from: string, name: string) =>
      send('POST', '/api/users', {
        from,
        headers: { 'idempotency-key': '1' },
        json: { name, email: `${name}.${Date.now()}@example.com` },
      });
    assert.equal((await signUp(newAddress(), 'first')).status, 201);
    assert.equal((await signUp(newAddress(), 'second')).status, 201);
  });

  it('are counted in health responses to admins only', async () => {
    const user = await tokenOf(await target.createUser());
    const texts: string[] = [];
    for (const path of ['/api/health', '/api/users/health', '/api/orders/health'])
      for (const token of [undefined, user]) {
        const { status, body } = await send('GET', path, { token });
        assert.equal(status, 200);
        texts.push(JSON.stringify(body));
      }
    assert.doesNotMatch(texts.join(), /_count|circuits/);
    const { body } = await send('GET', '/api/health', { token: await target.adminToken() });
    assert.match(JSON.stringify(body), /users_count.*orders_count|orders_count.*users_count/);
  });
});
