import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { signedCallHeaders } from '../../packages/chassis/src/auth/signed-call.ts';
import { logLevelPath } from '../../packages/chassis/src/logging/log-level-call.ts';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { runScript } from '../kit/command.ts';
import { type Service, type System, startSystem } from '../kit/system.ts';

type Line = Readonly<Record<string, unknown>>;

const MANAGEMENT_SECRET = 'a secret of operators, long enough';

describe('log levels of a running system', () => {
  let system: System;

  before(async () => {
    system = await startSystem({ MANAGEMENT_SECRET, LOG_LEVEL: 'info' });
  });
  after(() => system.close());

  /** Runs `npm run logs` for this system. */
  const logs = (...args: string[]) =>
    runScript('logs', { ...system.variables, MANAGEMENT_SECRET, LOG_LEVEL: 'info' }, args);

  /** Makes a signed call, which is faster than the command. */
  async function call({ managementUrl }: Service, method: 'GET' | 'PUT' | 'DELETE', target: string) {
    const headers = signedCallHeaders(target, [MANAGEMENT_SECRET], method);
    const response = await sendRequest(managementUrl + target, { method, headers });
    assert.equal(response.status, 200, response.text);
    return response.body;
  }

  const put = (service: Service, query: string) => call(service, 'PUT', `${logLevelPath}?${query}`);

  function linesOf({ output }: Service): Line[] {
    return output.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  }

  /** Places an order with this correlation id and returns the lines of each service once the request is logged. */
  async function placeOrder(correlationId: string): Promise<Record<string, Line[]>> {
    const response = await sendRequest(`${system.gateway.url}/api/orders`, {
      method: 'POST',
      headers: { 'x-correlation-id': correlationId, 'idempotency-key': correlationId },
      json: { user_id: 1, product: 'Desk', quantity: 1, total: 10 },
    });
    assert.equal(response.status, 201, response.text);
    return eventually(() => {
      const lines = Object.fromEntries(
        [system.gateway, system.orders].map((service) => [
          service.name,
          linesOf(service).filter(({ correlation_id }) => correlation_id === correlationId),
        ]),
      );
      for (const found of Object.values(lines)) assert.ok(found.some(({ msg }) => msg === 'request'));
      return lines;
    });
  }

  const debugLines = (lines: Line[] | undefined): string[] => [
    ...new Set((lines ?? []).filter(({ level }) => level === 'debug').map(({ msg }) => String(msg))),
  ];

  it('the level of one service changes by command until its time ends', async () => {
    const { code, stdout, stderr } = await logs('order-service', 'level', 'debug', '--for', '1h');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^order-service: debug until \S+Z, then info\n$/);
    const lines = await placeOrder('level-1');
    assert.deepEqual(debugLines(lines.gateway), []);
    assert.ok(debugLines(lines['order-service']).includes('database operation'));

    await put(system.orders, 'level=debug&seconds=1');
    await eventually(() => assert.ok(linesOf(system.orders).some(({ msg }) => msg === 'log level restored')));
    assert.deepEqual(debugLines((await placeOrder('level-2'))['order-service']), []);
    const audited = linesOf(system.orders).filter(({ action }) => action === 'log-level.set');
    assert.deepEqual(
      audited.map(({ stream, actor_type, new_level, seconds }) => [stream, actor_type, new_level, seconds]),
      [
        ['audit', 'operator', 'debug', 3600],
        ['audit', 'operator', 'debug', 1],
      ],
    );
  });

  it('only the chosen request has debug lines, in all services and until the time ends', async () => {
    const { code, stdout, stderr } = await logs(
      'level',
      'debug',
      '--correlation-id',
      'chosen',
      '--for',
      '1h',
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^gateway: info; debug lines of chosen until \S+Z$/m);
    assert.equal(stdout.trim().split('\n').length, 3);
    const [other, chosen] = await Promise.all([placeOrder('other'), placeOrder('chosen')]);
    for (const lines of Object.values(other)) assert.deepEqual(debugLines(lines), []);
    assert.deepEqual(debugLines(chosen.gateway).sort(), ['request counted', 'upstream attempt']);
    const [attempt] = (chosen.gateway ?? []).filter(({ msg }) => msg === 'upstream attempt');
    assert.deepEqual(
      [attempt?.upstream, attempt?.attempt, attempt?.status, attempt?.will_retry],
      ['order-service', 1, 201, false],
    );
    assert.match(String(attempt?.address), /^127\.0\.0\.1(:\d+)?$/);
    await eventually(() => {
      const found = linesOf(system.orders).filter(({ correlation_id }) => correlation_id === 'chosen');
      assert.deepEqual(debugLines(found).sort(), [
        'database operation',
        'event sent',
        'idempotency key used',
      ]);
    });
    // No other line has the level debug, although the services poll the database.
    const debug = [system.users, system.orders, system.gateway]
      .flatMap(linesOf)
      .filter(({ level, correlation_id }) => level === 'debug' && correlation_id !== 'level-1');
    assert.deepEqual([...new Set(debug.map(({ correlation_id }) => correlation_id))], ['chosen']);

    await put(system.orders, 'level=debug&seconds=1&correlation_id=last');
    await eventually(async () =>
      assert.equal((await call(system.orders, 'GET', logLevelPath)).sampled, undefined),
    );
    assert.deepEqual(debugLines((await placeOrder('last'))['order-service']), []);
    for (const service of [system.users, system.orders, system.gateway])
      assert.equal((await call(service, 'DELETE', logLevelPath)).sampled, undefined);
  });

  it('a header of a client never has debug lines written', async () => {
    const response = await sendRequest(`${system.gateway.url}/api/orders/1`, {
      headers: { 'x-correlation-id': 'curious', 'x-debug': '1', 'x-log-level': 'debug' },
    });
    assert.equal(response.status, 200);
    const lines = await eventually(() => {
      const found = linesOf(system.orders).filter(({ correlation_id }) => correlation_id === 'curious');
      assert.ok(found.length > 0);
      return found;
    });
    assert.deepEqual(debugLines(lines), []);
  });

  it('a service that does not run is an error of one line, and the others respond', async () => {
    await system.users.stop();
    const { code, stdout, stderr } = await logs('level');
    assert.equal(code, 1);
    assert.match(stdout, /^gateway: info$/m);
    assert.match(
      stderr,
      /^user-service: No process responds at 127\.0\.0\.1:\d+\. Start it, or set MANAGEMENT_PORT\.\n$/,
    );
  });
});
