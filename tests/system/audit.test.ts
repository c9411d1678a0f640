import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { type HttpRequest, type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { auditFields } from '../../packages/contracts/src/audit.ts';
import { documents } from '../../packages/contracts/src/openapi/documents.ts';
import { orderOperations } from '../../packages/contracts/src/order-service/orders.ts';
import type { Operation } from '../../packages/contracts/src/protocol/operation.ts';
import { identityOperations } from '../../packages/contracts/src/user-service/identity.ts';
import { userOperations } from '../../packages/contracts/src/user-service/users.ts';
import { runScript } from '../kit/command.ts';
import { type Service, type System, startSystem } from '../kit/system.ts';

type Line = Readonly<Record<string, unknown>>;

const admin = { email: 'root@example.com', password: 'correct horse battery staple' };
const password = 'a passphrase of a test';

describe('audit stream', () => {
  let system: System;
  let adminToken: string;
  let adminId: string;
  let users = 0;

  before(async () => {
    system = await startSystem({
      AUTH: 'required',
      AUTH_ADMIN_EMAIL: admin.email,
      AUTH_ADMIN_PASSWORD: admin.password,
      AUTH_SIGN_UP: 'true',
    });
    ({ token: adminToken, id: adminId } = await eventually(() => logIn(admin)));
  });
  after(() => system.close());

  /** Returns the audit lines of a service, in order. */
  function linesOf({ output }: Service, select: (line: Line) => boolean = () => true): Line[] {
    return output
      .filter((line) => line.startsWith('{'))
      .map((line): Line => JSON.parse(line))
      .filter((line) => line.stream === 'audit' && select(line));
  }

  /** Sends a request with its own correlation id and returns its audit lines. */
  async function send(service: Service, path: string, options: HttpRequest = {}, writer = service) {
    const id = randomUUID();
    const headers = { ...options.headers, 'x-correlation-id': id };
    const response = await sendRequest(service.url + path, { ...options, headers });
    const lines = await eventually(() => {
      const found = linesOf(writer, ({ correlation_id }) => correlation_id === id);
      assert.ok(found.length > 0, `an audit line of ${options.method} ${path} (${response.status})`);
      return found;
    });
    return { response, lines, id };
  }

  async function logIn({ email, password: secret }: { email: string; password: string }) {
    const { response, lines } = await send(system.users, '/api/auth/login', {
      method: 'POST',
      json: { email, password: secret },
    });
    assert.equal(response.status, 200, response.text);
    const { access_token: token, refresh_token: refreshToken } = response.body.data;
    return {
      token: String(token),
      refreshToken: String(refreshToken),
      id: String(lines[0]?.entity_id),
      lines,
    };
  }

  async function signUp() {
    users += 1;
    const email = `user-${users}@example.com`;
    const created = await send(system.users, '/api/users', {
      method: 'POST',
      json: { name: 'Carol', email, password },
    });
    assert.equal(created.response.status, 201, created.response.text);
    return { email, password, lines: created.lines, id: String(created.response.body.data.id) };
  }

  /** Returns the members of a line that differ between lines of one action. */
  const summaryOf = ({ action, outcome, reason, actor_type, actor, entity_id, ...line }: Line): string =>
    [action, outcome, reason, actor_type, actor, entity_id, line.new_role, line.new_status, line.changed]
      .filter((value) => value !== undefined)
      .join(' ');

  it('contains the whole story of a user and an order, with the subject of each step', async () => {
    const user = await signUp();
    assert.deepEqual(user.lines.map(summaryOf), [`user.create succeeded anonymous ${user.id} user`]);
    const session = await logIn(user);
    assert.deepEqual(session.lines.map(summaryOf), [`session.create succeeded user ${user.id} ${user.id}`]);

    const json = { user_id: Number(user.id), product: 'Desk', quantity: 1, total: 10 };
    const headers = { 'idempotency-key': randomUUID() };
    const order = { method: 'POST', json, headers, token: session.token };
    const placed = await send(system.gateway, '/api/orders', order, system.orders);
    const orderId = placed.response.body.data.id;
    assert.deepEqual(placed.lines.map(summaryOf), [`order.create succeeded user ${user.id} ${orderId}`]);
    const repeated = await send(system.gateway, '/api/orders', order, system.orders);
    assert.deepEqual(repeated.lines.map(summaryOf), [`order.create replayed user ${user.id} ${orderId}`]);

    const processing = { method: 'PUT', json: { status: 'processing' } };
    const statusPath = `/api/orders/${orderId}/status`;
    const denied = await send(
      system.gateway,
      statusPath,
      { ...processing, token: session.token },
      system.orders,
    );
    assert.deepEqual(denied.lines.map(summaryOf), [
      `order.change-status denied forbidden user ${user.id} ${orderId} processing`,
    ]);
    const changed = await send(
      system.gateway,
      statusPath,
      { ...processing, token: adminToken },
      system.orders,
    );
    assert.deepEqual(changed.lines.map(summaryOf), [
      `order.change-status succeeded user ${adminId} ${orderId} processing`,
    ]);

    const promoted = await send(system.users, `/api/users/${user.id}`, {
      method: 'PUT',
      json: { role: 'admin', password: 'another passphrase of it' },
      token: adminToken,
    });
    assert.deepEqual(promoted.lines.map(summaryOf), [
      `user.update succeeded user ${adminId} ${user.id} admin role,password`,
    ]);

    const path = `/api/users/${user.id}`;
    const deleted = await send(system.gateway, path, { method: 'DELETE', token: adminToken }, system.users);
    assert.deepEqual(deleted.lines.map(summaryOf), [`user.delete succeeded user ${adminId} ${user.id}`]);
    const [cancelled] = await eventually(() => {
      const found = linesOf(system.orders, ({ action }) => action === 'order.cancel');
      assert.equal(found.length, 1);
      return found;
    });
    assert.ok(cancelled);
    assert.equal(summaryOf(cancelled), `order.cancel succeeded service user-service ${orderId} cancelled`);
    assert.equal(
      cancelled.correlation_id,
      deleted.id,
      'the cancellation belongs to the request that deleted the user',
    );
    assert.match(String(cancelled.event_id), /^[0-9a-f-]{36}$/);
  });

  it('contains refused logins with the user id if it is known, and ends of sessions', async () => {
    const user = await signUp();
    const wrongPassword = { method: 'POST', json: { email: user.email, password: 'a wrong password' } };
    const unknownUser = {
      method: 'POST',
      json: { email: 'nobody@example.com', password: 'a wrong password' },
    };
    const login = (options: HttpRequest) => send(system.users, '/api/auth/login', options);
    assert.deepEqual((await login(wrongPassword)).lines.map(summaryOf), [
      `session.create failed login-failed anonymous ${user.id}`,
    ]);
    assert.deepEqual((await login(unknownUser)).lines.map(summaryOf), [
      'session.create failed login-failed anonymous',
    ]);
    for (let attempt = 0; attempt < 4; attempt += 1) await login(wrongPassword);
    assert.deepEqual((await login(wrongPassword)).lines.map(summaryOf), [
      `session.create throttled login-throttled anonymous ${user.id}`,
    ]);

    const other = await signUp();
    const { refreshToken } = await logIn(other);
    const refresh = (token: string) =>
      send(system.users, '/api/auth/refresh', { method: 'POST', json: { refresh_token: token } });
    const refreshed = await refresh(refreshToken);
    assert.deepEqual(refreshed.lines.map(summaryOf), [
      `session.refresh succeeded user ${other.id} ${other.id}`,
    ]);
    await refresh(refreshed.response.body.data.refresh_token);
    // The first token is neither the current nor the previous one, so its use ends the session.
    const reused = await refresh(refreshToken);
    assert.deepEqual(reused.lines.map(summaryOf), [
      `session.revoke succeeded anonymous ${other.id}`,
      `session.refresh failed session-ended anonymous ${other.id}`,
    ]);
  });

  it('has one line for each operation of the APIs that can change state, on success and on refusal', async () => {
    const { users: userService, orders: orderService } = system;
    const order = async () => {
      const json = { user_id: Number(adminId), product: 'Desk', quantity: 1, total: 10 };
      return { method: 'POST', json } satisfies HttpRequest;
    };
    const newOrder = async (): Promise<number> => {
      const { response } = await send(orderService, '/api/orders', { ...(await order()), token: adminToken });
      return response.body.data.id;
    };
    const refreshRequest = async () => ({ refresh_token: (await logIn(admin)).refreshToken });
    interface Case {
      readonly service: Service;
      readonly path: string;
      readonly accepted: HttpRequest;
      /** The accepted request without its token by default. */
      readonly refused?: HttpRequest;
    }
    const cases: Readonly<Record<string, () => Promise<Case>>> = {
      login: async () => ({
        service: userService,
        path: '/api/auth/login',
        accepted: { method: 'POST', json: admin },
        refused: { method: 'POST', json: { ...admin, password: 'a wrong password' } },
      }),
      refresh: async () => ({
        service: userService,
        path: '/api/auth/refresh',
        accepted: { method: 'POST', json: await refreshRequest() },
        refused: { method: 'POST', json: { refresh_token: 'unknown' } },
      }),
      // A logout is refused only for its form.
      logout: async () => ({
        service: userService,
        path: '/api/auth/logout',
        accepted: { method: 'POST', json: await refreshRequest() },
        refused: { method: 'POST', json: {} },
      }),
      createUser: async () => ({
        service: userService,
        path: '/api/users',
        accepted: { method: 'POST', json: { name: 'Dan', email: 'dan@example.com' }, token: adminToken },
        refused: { method: 'POST', json: { name: 'Eve', email: 'eve@example.com' }, token: 'invalid' },
      }),
      updateUser: async () => ({
        service: userService,
        path: `/api/users/${(await signUp()).id}`,
        accepted: { method: 'PUT', json: { name: 'Carla' }, token: adminToken },
      }),
      deleteUser: async () => ({
        service: userService,
        path: `/api/users/${(await signUp()).id}`,
        accepted: { method: 'DELETE', token: adminToken },
      }),
      placeOrder: async () => ({
        service: orderService,
        path: '/api/orders',
        accepted: { ...(await order()), token: adminToken },
      }),
      updateOrderStatus: async () => ({
        service: orderService,
        path: `/api/orders/${await newOrder()}/status`,
        accepted: { method: 'PUT', json: { status: 'processing' }, token: adminToken },
      }),
      cancelOrder: async () => ({
        service: orderService,
        path: `/api/orders/${await newOrder()}`,
        accepted: { method: 'DELETE', token: adminToken },
      }),
    };
    const operations: readonly Operation[] = Object.values({
      ...identityOperations,
      ...userOperations,
      ...orderOperations,
    });
    const documented = [...documents.values()].flatMap(({ paths }) =>
      Object.values(paths as Record<string, Record<string, { operationId?: string }>>).flatMap((methods) =>
        Object.entries(methods).flatMap(([method, { operationId }]) =>
          ['post', 'put', 'patch', 'delete'].includes(method) ? [String(operationId)] : [],
        ),
      ),
    );
    assert.deepEqual([...new Set(documented)].sort(), Object.keys(cases).sort());

    for (const [name, prepare] of Object.entries(cases)) {
      const { service, path, accepted, refused = { ...accepted, token: undefined } } = await prepare();
      const action = operations.find(({ id }) => id === name)?.audit;
      const check = async (
        options: HttpRequest,
        isExpected: (response: HttpResponse, line: Line) => boolean,
      ) => {
        const { response, lines } = await send(service, path, options);
        assert.equal(lines.length, 1, `${name}: one line`);
        const [line = {}] = lines;
        assert.equal(line.action, action, name);
        assert.ok(isExpected(response, line), `${name}: ${response.status} ${JSON.stringify(line)}`);
        for (const field of Object.keys(line))
          assert.ok(field in auditFields || commonFields.has(field), `${field} of ${name} is documented`);
      };
      await check(refused, ({ status }, { outcome }) =>
        refused.token === undefined && accepted.token !== undefined
          ? status === 401 && outcome === 'denied'
          : status >= 400 && (outcome === 'failed' || outcome === 'denied'),
      );
      await check(accepted, ({ status }, { outcome }) => status < 300 && outcome === 'succeeded');
    }
  });

  it('contains writes that the gateway denies', async () => {
    const { response, lines } = await send(system.gateway, '/api/orders/7', { method: 'DELETE' });
    assert.equal(response.status, 401);
    assert.deepEqual(lines.map(summaryOf), [
      'route.call denied unauthenticated anonymous DELETE /api/orders/{id}',
    ]);
  });

  it('contains the first key, the first admin and the lines of commands', async () => {
    const own = linesOf(system.users, ({ actor }) => actor === 'user-service').map(summaryOf);
    assert.ok(
      own.some((line) => /^signing-key\.create succeeded service user-service [\w-]{43}$/.test(line)),
      own.join(),
    );
    assert.ok(own.includes(`user.create succeeded service user-service ${adminId} admin`), own.join());
    // The embedded database allows one process.
    await system.users.stop();
    const { code, stderr } = await runScript('keys', system.variables, ['rotate']);
    assert.equal(code, 0, stderr);
    const [line = {}, ...others] = stderr
      .split('\n')
      .filter((text) => text.startsWith('{'))
      .map((text): Line => JSON.parse(text));
    assert.equal(others.length, 0);
    assert.match(summaryOf(line), /^signing-key\.rotate succeeded operator [\w-]{43}$/);
  });

  it('contains no e-mail address, name or password, although the log level is warn', () => {
    const lines = [system.users, system.orders, system.gateway].flatMap((service) => linesOf(service));
    assert.ok(lines.length > 30, `${lines.length} lines`);
    const text = JSON.stringify(lines);
    for (const personal of ['@', 'Carol', 'Dan', password, admin.password])
      assert.ok(!text.includes(personal), personal);
    const requests = system.orders.output.filter((line) => line.includes('"msg":"request"'));
    // While user-service starts, the gateway may ask for a copy of its keys in vain: a 503, which is logged as a warning.
    const others = requests.filter(
      (line) => !/"level":"warn".*"route":"\/\.well-known\/jwks\.json","status":503/.test(line),
    );
    assert.deepEqual(others, []);
  });
});

/** Fields of every line of a request. */
const commonFields = new Set(['level', 'time', 'service', 'msg', 'correlation_id', 'trace_id', 'span_id']);
