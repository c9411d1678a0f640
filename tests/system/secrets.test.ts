import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { planSystem } from '../../scripts/lib/services.ts';
import { eventually } from './lib/eventually.ts';
import { type Answer, call } from './lib/http.ts';
import { type System, startSystem } from './lib/system.ts';

/** A secret that is met nowhere by chance. */
function planted(name: string): string {
  return `planted-${name}-${randomBytes(12).toString('hex')}`;
}

const secrets = {
  EVENT_SECRET: planted('event-secret'),
  EVENT_SECRET_PREVIOUS: planted('event-secret-before'),
  AUTH_KEY_SECRET: planted('key-secret'),
  AUTH_KEY_SECRET_PREVIOUS: planted('key-secret-before'),
  AUTH_ADMIN_PASSWORD: planted('admin-password'),
};
const databasePassword = planted('database-password');
const admin = { email: 'root@example.com', password: secrets.AUTH_ADMIN_PASSWORD };

describe('secrets', () => {
  let system: System;
  /** All that was answered, without the members that a token is given in. */
  const answered: string[] = [];
  /** What must be met nowhere. */
  const hidden = new Set<string>([...Object.values(secrets), databasePassword]);

  before(async () => {
    system = await startSystem({
      ...secrets,
      AUTH: 'required',
      AUTH_ADMIN_EMAIL: admin.email,
      AUTH_SIGN_UP: 'true',
      LOG_LEVEL: 'trace',
    });
  });
  after(() => system.close());

  function password(name: string): string {
    const made = planted(name);
    hidden.add(made);
    return made;
  }

  async function ask(url: string, options: Parameters<typeof call>[1] = {}): Promise<Answer> {
    const answer = await call(url, options);
    const { access_token, refresh_token } = answer.body?.data ?? {};
    let text = answer.text;
    for (const token of [access_token, refresh_token]) {
      if (token === undefined) continue;
      text = text.replace(token, 'given');
      // Of an access token its signature is what makes it one.
      for (const part of String(token).split('.').slice(-1)) hidden.add(part);
    }
    answered.push(text, JSON.stringify([...answer.headers]));
    return answer;
  }

  function post(url: string, json: object, headers: Record<string, string> = {}): Promise<Answer> {
    return ask(url, { method: 'POST', json, headers });
  }

  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

  it('are not the only thing kept from other callers: health has numbers for admins only', async () => {
    const { users, gateway } = system;
    const { body } = await eventually(async () => {
      const answer = await post(`${users.url}/api/auth/login`, admin);
      assert.equal(answer.status, 200, answer.text);
      return answer;
    });
    const email = 'curious@example.com';
    const mine = password('curious-password');
    await post(`${users.url}/api/users`, { name: 'Curious', email, password: mine });
    const curious = await post(`${users.url}/api/auth/login`, { email, password: mine });
    for (const [headers, shown] of [
      [{}, false],
      [bearer(curious.body.data.access_token), false],
      [bearer(body.data.access_token), true],
    ] as const) {
      const health = async (path: string) => {
        const answer = await ask(`${gateway.url}${path}`, { headers });
        assert.equal(answer.status, 200, answer.text);
        return answer.body.data;
      };
      const { services, circuits } = await health('/api/health');
      const numbers = [
        services.user_service.users_count,
        services.order_service.orders_count,
        (await health('/api/users/health')).users_count,
        (await health('/api/orders/health')).orders_count,
        circuits?.user_service.successes,
      ];
      assert.deepEqual(
        numbers.map((number) => number !== undefined),
        numbers.map(() => shown),
      );
    }
    const bad = await ask(`${gateway.url}/api/health`, { headers: bearer(`${body.data.access_token}x`) });
    assert.equal(bad.status, 401);
  });

  it('are met in no log, no metric, and no answer, whatever is done right or wrong', async () => {
    const { users, orders, gateway } = system;
    const login = `${users.url}/api/auth/login`;
    const { body: first } = await eventually(async () => {
      const answer = await post(login, admin);
      assert.equal(answer.status, 200, answer.text);
      return answer;
    });
    const token: string = first.data.access_token;

    // Somebody signs up, logs in, refreshes, uses a token twice, changes the password, and logs out.
    const mine = password('user-password');
    const email = 'somebody@example.com';
    const signedUp = await post(`${users.url}/api/users`, { name: 'Somebody', email, password: mine });
    assert.equal(signedUp.status, 201, signedUp.text);
    const own = (await post(login, { email, password: mine })).body.data;
    const next = (await post(`${users.url}/api/auth/refresh`, { refresh_token: own.refresh_token })).body
      .data;
    const later = (await post(`${users.url}/api/auth/refresh`, { refresh_token: next.refresh_token })).body
      .data;
    await post(`${users.url}/api/auth/refresh`, { refresh_token: own.refresh_token });
    await post(`${users.url}/api/auth/logout`, { refresh_token: later.refresh_token });
    const changed = await ask(`${users.url}/api/users/${signedUp.body.data.id}`, {
      method: 'PUT',
      json: { password: password('next-password'), current_password: mine },
      headers: bearer(own.access_token),
    });
    assert.equal(changed.status, 200, changed.text);

    // What goes wrong: passwords, tokens and bodies that are refused, also those that cannot be read.
    const wrong = password('wrong-password');
    for (let attempt = 0; attempt < 8; attempt += 1) await post(login, { email, password: wrong });
    await post(login, { email: 7, password: wrong });
    await post(login, { email, password: wrong, pin: wrong });
    const broken = await fetch(login, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: `{"password":"${wrong}"`,
    });
    answered.push(await broken.text());
    const garbage = password('garbage-token');
    for (const { url } of [users, orders, gateway]) {
      for (const authorization of [
        `Bearer ${garbage}`,
        `Basic ${btoa(garbage)}`,
        `Bearer ${token}x`,
        garbage,
      ])
        await ask(`${url}/api/orders/1`, { headers: { authorization } });
      await ask(`${url}/api/users?access_token=${garbage}`, { headers: { cookie: `session=${garbage}` } });
    }
    hidden.add(btoa(garbage));
    const signature = createHash('sha256').update(garbage).digest('hex');
    await ask(`${orders.managementUrl}/events`, {
      method: 'POST',
      json: {},
      headers: { 'content-type': 'application/cloudevents+json', 'x-event-signature': `t=1,v1=${signature}` },
    });
    await ask(`${users.managementUrl}/user-ids?after=0&limit=1`, {
      headers: { 'x-event-signature': signature },
    });
    hidden.add(signature);

    // A call in the caller's name that fails half-way: order-service asks user-service for somebody it does not know.
    const order = { user_id: 999_999, product: 'Laptop', quantity: 1, total: 1 };
    assert.equal((await post(`${orders.url}/api/orders`, order, bearer(token))).status, 422);
    await users.kill();
    assert.equal(
      (await post(`${orders.url}/api/orders`, { ...order, user_id: 999_998 }, bearer(token))).status,
      503,
    );
    for (const path of ['/api/users/1', '/api/users/1/profile', '/api/dashboard', '/api/health'])
      await ask(`${gateway.url}${path}`, { headers: bearer(token) });
    await users.start();

    for (const { managementUrl } of [users, orders, gateway]) await ask(`${managementUrl}/metrics`);
    assert.equal(await users.stop(), 0);
    const output = [users, orders, gateway].map((service) => service.output.join('\n'));
    assert.ok(output[0]?.includes('"route":"/api/auth/login"'), 'the log is there');
    const all = [...output, ...answered].join('\n');
    assert.ok(hidden.size > 14, `${hidden.size} secrets`);
    for (const secret of hidden) {
      const at = all.indexOf(secret);
      assert.equal(at, -1, `${secret} in: ${all.slice(Math.max(0, at - 200), at + 60)}`);
    }
  });

  it('are met in nothing that a service says of a configuration or a database that it cannot use', async () => {
    const [plan] = planSystem({ ...process.env, ...system.variables }).services;
    assert.ok(plan);
    const short = databasePassword.slice(0, 20);
    const runs = [
      { DATABASE_URL: `postgres://user:${databasePassword}@127.0.0.1:9/users` },
      { DATABASE_URL: `postgres://user:${databasePassword}@/%zz` },
      { DATABASE_URL: `mysql://user:${databasePassword}@localhost/users` },
      { AUTH: 'required', AUTH_KEY_SECRET: short },
      { AUTH: 'required', AUTH_KEY_SECRET: secrets.AUTH_KEY_SECRET, AUTH_ADMIN_PASSWORD: admin.password },
      { EVENT_SECRET: short, AUTH_ADMIN_EMAIL: databasePassword },
      { AUTH_JWKS_URL: `https://user:${databasePassword}@localhost/keys` },
    ];
    await Promise.all(
      runs.map(async (env) => {
        const lines: string[] = [];
        const started = startProcess(
          {
            name: plan.name,
            file: plan.file,
            env: { ...plan.env, LOG_LEVEL: 'trace', PORT: '0', MANAGEMENT_PORT: '0', ...env },
            readyUrl: plan.url,
          },
          (line) => lines.push(line),
        );
        await eventually(() =>
          assert.ok(
            lines.some((line) => /trying again|must |cannot/.test(line)),
            lines.join('\n'),
          ),
        );
        await started.stop();
        const text = lines.join('\n');
        for (const secret of [databasePassword, short, secrets.AUTH_KEY_SECRET, admin.password])
          assert.ok(!text.includes(secret), text);
      }),
    );
  });
});
