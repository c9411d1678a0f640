import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { planSystem } from '../../scripts/lib/services.ts';
import { type System, startSystem } from '../kit/system.ts';

/** Creates a random secret that can be searched for in all output. */
function createSecret(name: string): string {
  return `planted-${name}-${randomBytes(12).toString('hex')}`;
}

const secrets = {
  EVENT_SECRET: createSecret('event-secret'),
  EVENT_SECRET_PREVIOUS: createSecret('event-secret-before'),
  AUTH_KEY_SECRET: createSecret('key-secret'),
  AUTH_KEY_SECRET_PREVIOUS: createSecret('key-secret-before'),
  AUTH_ADMIN_PASSWORD: createSecret('admin-password'),
};
const databasePassword = createSecret('database-password');
const admin = { email: 'root@example.com', password: secrets.AUTH_ADMIN_PASSWORD };

describe('secrets', () => {
  let system: System;
  /** All responses, without the tokens that they issue. */
  const responded: string[] = [];
  /** Values that must not appear in any output. */
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
    const secret = createSecret(name);
    hidden.add(secret);
    return secret;
  }

  async function send(url: string, options: Parameters<typeof sendRequest>[1] = {}): Promise<HttpResponse> {
    const response = await sendRequest(url, options);
    const { access_token, refresh_token } = response.body?.data ?? {};
    let text = response.text;
    for (const token of [access_token, refresh_token]) {
      if (token === undefined) continue;
      text = text.replace(token, 'issued');
      // Header and payload of an access token are not secret; its signature is.
      for (const part of String(token).split('.').slice(-1)) hidden.add(part);
    }
    responded.push(text, JSON.stringify(response.headers));
    return response;
  }

  function post(url: string, json: object, headers: Record<string, string> = {}): Promise<HttpResponse> {
    return send(url, { method: 'POST', json, headers });
  }

  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

  it('health returns counts and circuits to admins only', async () => {
    const { users, gateway } = system;
    const { body } = await eventually(async () => {
      const response = await post(`${users.url}/api/auth/login`, admin);
      assert.equal(response.status, 200, response.text);
      return response;
    });
    const email = 'curious@example.com';
    const ownPassword = password('curious-password');
    await post(`${users.url}/api/users`, { name: 'Curious', email, password: ownPassword });
    const curious = await post(`${users.url}/api/auth/login`, { email, password: ownPassword });
    for (const [headers, isAdmin] of [
      [{}, false],
      [bearer(curious.body.data.access_token), false],
      [bearer(body.data.access_token), true],
    ] as const) {
      const health = async (path: string) => {
        const response = await send(`${gateway.url}${path}`, { headers });
        assert.equal(response.status, 200, response.text);
        return response.body.data;
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
        numbers.map(() => isAdmin),
      );
    }
    const bad = await send(`${gateway.url}/api/health`, { headers: bearer(`${body.data.access_token}x`) });
    assert.equal(bad.status, 401);
  });

  it('appear in no log, metric or response after valid and invalid requests', async () => {
    const { users, orders, gateway } = system;
    const login = `${users.url}/api/auth/login`;
    const { body: first } = await eventually(async () => {
      const response = await post(login, admin);
      assert.equal(response.status, 200, response.text);
      return response;
    });
    const token: string = first.data.access_token;

    // A user signs up, logs in, refreshes, reuses a refresh token, logs out and changes the password.
    const ownPassword = password('user-password');
    const email = 'carol@example.com';
    const signedUp = await post(`${users.url}/api/users`, { name: 'Carol', email, password: ownPassword });
    assert.equal(signedUp.status, 201, signedUp.text);
    const session = (await post(login, { email, password: ownPassword })).body.data;
    const next = (await post(`${users.url}/api/auth/refresh`, { refresh_token: session.refresh_token })).body
      .data;
    const later = (await post(`${users.url}/api/auth/refresh`, { refresh_token: next.refresh_token })).body
      .data;
    await post(`${users.url}/api/auth/refresh`, { refresh_token: session.refresh_token });
    await post(`${users.url}/api/auth/logout`, { refresh_token: later.refresh_token });
    const changed = await send(`${users.url}/api/users/${signedUp.body.data.id}`, {
      method: 'PUT',
      json: { password: password('next-password'), current_password: ownPassword },
      headers: bearer(session.access_token),
    });
    assert.equal(changed.status, 200, changed.text);

    // Invalid passwords, tokens and bodies, including malformed ones.
    const wrong = password('wrong-password');
    for (let attempt = 0; attempt < 8; attempt += 1) await post(login, { email, password: wrong });
    await post(login, { email: 7, password: wrong });
    await post(login, { email, password: wrong, pin: wrong });
    const broken = await sendRequest(login, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"password":"${wrong}"`,
    });
    responded.push(broken.text);
    const garbage = password('garbage-token');
    for (const { url } of [users, orders, gateway]) {
      for (const authorization of [
        `Bearer ${garbage}`,
        `Basic ${btoa(garbage)}`,
        `Bearer ${token}x`,
        garbage,
      ])
        await send(`${url}/api/orders/1`, { headers: { authorization } });
      await send(`${url}/api/users?access_token=${garbage}`, { headers: { cookie: `session=${garbage}` } });
    }
    hidden.add(btoa(garbage));
    const signature = createHash('sha256').update(garbage).digest('hex');
    await send(`${orders.managementUrl}/events`, {
      method: 'POST',
      json: {},
      headers: { 'content-type': 'application/cloudevents+json', 'x-event-signature': `t=1,v1=${signature}` },
    });
    await send(`${users.managementUrl}/user-ids?after=0&limit=1`, {
      headers: { 'x-event-signature': signature },
    });
    hidden.add(signature);

    // An order whose user order-service does not know, with user-service running and stopped.
    const order = { user_id: 999_999, product: 'Laptop', quantity: 1, total: 1 };
    assert.equal((await post(`${orders.url}/api/orders`, order, bearer(token))).status, 422);
    await users.kill();
    assert.equal(
      (await post(`${orders.url}/api/orders`, { ...order, user_id: 999_998 }, bearer(token))).status,
      503,
    );
    for (const path of ['/api/users/1', '/api/users/1/profile', '/api/dashboard', '/api/health'])
      await send(`${gateway.url}${path}`, { headers: bearer(token) });
    await users.start();

    for (const { managementUrl } of [users, orders, gateway]) await send(`${managementUrl}/metrics`);
    assert.equal(await users.stop(), 0);
    const output = [users, orders, gateway].map((service) => service.output.join('\n'));
    assert.ok(output[0]?.includes('"route":"/api/auth/login"'), 'the log was captured');
    const all = [...output, ...responded].join('\n');
    assert.ok(hidden.size > 14, `${hidden.size} secrets`);
    for (const secret of hidden) {
      const at = all.indexOf(secret);
      assert.equal(at, -1, `${secret} in: ${all.slice(Math.max(0, at - 200), at + 60)}`);
    }
  });

  it('appear in no output about an invalid configuration or an unavailable database', async () => {
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
            lines.some((line) => /retrying|must |cannot|AUTH_ADMIN_PASSWORD/.test(line)),
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
