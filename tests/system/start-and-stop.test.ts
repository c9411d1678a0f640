import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { planSystem } from '../../scripts/lib/services.ts';
import { runScript, startScript } from './lib/command.ts';
import { call } from './lib/http.ts';
import { prepareSystem, type System } from './lib/system.ts';

const posix = { skip: process.platform === 'win32' };

describe('a service', () => {
  let system: System;

  before(async () => {
    system = await prepareSystem();
  });
  after(() => system.close());

  it('starts again in less than 5 s with its data, and loads the demo data once', async () => {
    await Promise.all([system.users.start(), system.orders.start()]);
    const renamed = { method: 'PUT', json: { name: 'Alice Cooper' } } as const;
    assert.equal((await call(`${system.users.url}/api/users/1`, renamed)).status, 200);
    await Promise.all([system.users.stop(), system.orders.stop()]);

    const times = await Promise.all([system.users.start(), system.orders.start()]);
    assert.ok(Math.max(...times) < 5_000, `started in ${times.join(' and ')} ms`);
    const { body } = await call(`${system.users.url}/api/users`);
    assert.deepEqual(
      body.data.map(({ name }: { name: string }) => name),
      ['Alice Cooper', 'Bob Smith', 'Charlie Brown'],
    );
    assert.equal((await call(`${system.orders.url}/api/orders/stats`)).body.data.orders, 5);
  });

  it('refuses a data folder that another process has, in one line', async () => {
    const [plan] = planSystem({ ...process.env, ...system.variables }).services;
    assert.ok(plan);
    const second = startProcess(
      { ...plan, env: { ...plan.env, PORT: '0', MANAGEMENT_PORT: '0' }, readyUrl: plan.url },
      () => {},
    );
    assert.equal(await second.exited, 1);
    const told = second.lastLines.filter((line) => !line.startsWith('{'));
    assert.equal(told.length, 1, told.join('\n'));
    assert.match(told[0] ?? '', /user-service/);
    assert.ok(told[0]?.includes(system.dataDir), told[0]);
    assert.equal((await call(`${system.users.url}/api/users/1`)).status, 200);
  });

  it('refuses a port that another process has, in one line', async () => {
    const [, , gateway] = planSystem({ ...process.env, ...system.variables }).services;
    assert.ok(gateway);
    const port = new URL(system.users.url).port;
    const started = startProcess(
      { ...gateway, env: { ...gateway.env, PORT: port }, readyUrl: gateway.url },
      () => {},
    );
    assert.equal(await started.exited, 1);
    const told = started.lastLines.filter((line) => !line.startsWith('{'));
    assert.equal(told.length, 1, told.join('\n'));
    assert.match(told[0] ?? '', new RegExp(`gateway.*${port}`));
  });

  it('ends with exit code 0 at SIGTERM', posix, async () => {
    await system.gateway.start();
    assert.deepEqual(
      await Promise.all([system.gateway.stop(), system.orders.stop(), system.users.stop()]),
      [0, 0, 0],
    );
  });
});

describe('npm start', () => {
  let system: System;

  before(async () => {
    system = await prepareSystem();
  });
  after(() => system.close());

  it(
    'says where everything is, is there, keeps its data from npm run reset, and ends with 0',
    posix,
    async () => {
      const started = startScript('start', system.variables);
      try {
        await started.line(/^zerda is ready in \d+\.\d s$/);
        await started.line(/curl .*\/api\/dashboard/);
        for (const { url } of [system.gateway, system.users, system.orders])
          await started.line(new RegExp(url));
        assert.equal((await call(`${system.gateway.url}/api/dashboard`)).body.data.total_users, 3);

        const refused = await runScript('reset', system.variables);
        assert.equal(refused.code, 1, refused.stdout);
        assert.match(refused.stderr, /^[^\n]*user-service[^\n]*\n$/);
        assert.equal((await call(`${system.users.url}/api/users/1`)).status, 200);
      } finally {
        started.kill('SIGTERM');
      }
      assert.equal(await started.exited, 0);
      await assert.rejects(call(system.gateway.url));

      const reset = await runScript('reset', system.variables);
      assert.equal(reset.code, 0, reset.stderr);
      assert.deepEqual(await readdir(system.dataDir).catch(() => []), []);
    },
  );

  it('starts nothing when a port is in use, and says which in one line', async () => {
    const port = Number(new URL(system.orders.url).port);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      const { code, stdout, stderr } = await runScript('start', system.variables);
      assert.deepEqual([code, stdout], [1, '']);
      assert.match(
        stderr,
        new RegExp(`^[^\\n]*order-service ${port} \\(ZERDA_ORDER_PORT: in use\\)[^\\n]*\\n$`),
      );
    } finally {
      server.close();
    }
  });

  it('ends with the exit code of a service that dies, and shows its last lines', async () => {
    const { code, stderr } = await runScript('start', {
      ...system.variables,
      ZERDA_ORDER_DATABASE_URL: 'nonsense',
    });
    assert.equal(code, 78, stderr);
    assert.match(stderr, /order-service ended with exit code 78/);
    assert.match(stderr, /DATABASE_URL/);
  });
});
