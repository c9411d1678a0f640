import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { planSystem } from '../../scripts/lib/services.ts';
import { type RunningScript, runScript, startScript } from '../kit/command.ts';
import { prepareSystem, type System } from '../kit/system.ts';

const posix = { skip: process.platform === 'win32' };

describe('a service', () => {
  let system: System;

  before(async () => {
    system = await prepareSystem();
  });
  after(() => system.close());

  it('restarts in less than 5 s with its data, and loads the demo data only once', async () => {
    await Promise.all([system.users.start(), system.orders.start()]);
    const renamed = { method: 'PUT', json: { name: 'Alice Cooper' } } as const;
    assert.equal((await sendRequest(`${system.users.url}/api/users/1`, renamed)).status, 200);
    await Promise.all([system.users.stop(), system.orders.stop()]);

    const times = await Promise.all([system.users.start(), system.orders.start()]);
    assert.ok(Math.max(...times) < 5_000, `started in ${times.join(' and ')} ms`);
    const { body } = await sendRequest(`${system.users.url}/api/users`);
    assert.deepEqual(
      body.data.map(({ name }: { name: string }) => name),
      ['Alice Cooper', 'Bob Smith', 'Charlie Brown'],
    );
    assert.equal((await sendRequest(`${system.orders.url}/api/orders/stats`)).body.data.orders, 5);
  });

  it('exits with code 1 and one line of error when another process uses the data folder', async () => {
    const [plan] = planSystem({ ...process.env, ...system.variables }).services;
    assert.ok(plan);
    const second = startProcess(
      { ...plan, env: { ...plan.env, PORT: '0', MANAGEMENT_PORT: '0' }, readyUrl: plan.url },
      () => {},
    );
    assert.equal(await second.exited, 1);
    const errorLines = second.lastLines.filter((line) => !line.startsWith('{'));
    assert.equal(errorLines.length, 1, errorLines.join('\n'));
    assert.match(errorLines[0] ?? '', /user-service/);
    assert.ok(errorLines[0]?.includes(system.dataDir), errorLines[0]);
    assert.equal((await sendRequest(`${system.users.url}/api/users/1`)).status, 200);
  });

  it('exits with code 1 and one line of error when the port is in use', async () => {
    const [, , gateway] = planSystem({ ...process.env, ...system.variables }).services;
    assert.ok(gateway);
    const port = new URL(system.users.url).port;
    const started = startProcess(
      { ...gateway, env: { ...gateway.env, PORT: port }, readyUrl: gateway.url },
      () => {},
    );
    assert.equal(await started.exited, 1);
    const errorLines = started.lastLines.filter((line) => !line.startsWith('{'));
    assert.equal(errorLines.length, 1, errorLines.join('\n'));
    assert.match(errorLines[0] ?? '', new RegExp(`gateway.*${port}`));
  });

  it('exits with code 0 on SIGTERM', posix, async () => {
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

  describe('on an empty data folder', posix, () => {
    let started: RunningScript;
    const polls: { readonly startedAt: number; readonly status: number | undefined }[] = [];
    let polling = true;
    let poller: Promise<void>;

    before(() => {
      started = startScript('start', system.variables);
      poller = poll();
    });
    after(async () => {
      polling = false;
      started.kill('SIGTERM');
      await started.exited;
    });

    async function poll(): Promise<void> {
      while (polling) {
        const startedAt = performance.now();
        const status = await sendRequest(`${system.gateway.url}/api/dashboard`).then(
          (response) => response.status,
          () => undefined,
        );
        polls.push({ startedAt, status });
        await wait(10);
      }
    }

    it('fails no request after it is ready, although a client has polled since the start', async () => {
      await started.line(/^zerda is ready in /);
      const readyAt = performance.now();
      await eventually(async () =>
        assert.ok(polls.filter(({ startedAt }) => startedAt > readyAt).length >= 100),
      );
      polling = false;
      await poller;
      const before = polls.filter(({ startedAt }) => startedAt < readyAt).map(({ status }) => status);
      const after = polls.filter(({ startedAt }) => startedAt > readyAt).map(({ status }) => status);
      assert.ok(before.includes(503), 'no request reached the gateway before its services were ready');
      assert.deepEqual(new Set(after), new Set([200]));
    });

    it('prints the URLs, serves requests, blocks npm run reset, and exits with code 0', async () => {
      await started.line(/^zerda is ready in \d+\.\d s$/);
      await started.line(/curl .*\/api\/dashboard/);
      for (const { url } of [system.gateway, system.users, system.orders])
        await started.line(new RegExp(url));
      assert.equal((await sendRequest(`${system.gateway.url}/api/dashboard`)).body.data.total_users, 3);

      const rejected = await runScript('reset', system.variables);
      assert.equal(rejected.code, 1, rejected.stdout);
      assert.match(rejected.stderr, /^[^\n]*user-service[^\n]*\n$/);
      assert.equal((await sendRequest(`${system.users.url}/api/users/1`)).status, 200);

      started.kill('SIGTERM');
      assert.equal(await started.exited, 0);
      await assert.rejects(sendRequest(system.gateway.url));

      const reset = await runScript('reset', system.variables);
      assert.equal(reset.code, 0, reset.stderr);
      assert.deepEqual(await readdir(system.dataDir).catch(() => []), []);
    });
  });

  it('starts no service and names the port when a port is in use', async () => {
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

  it('exits with the code of a failed service and prints its last lines', async () => {
    const { code, stderr } = await runScript('start', {
      ...system.variables,
      ZERDA_ORDER_DATABASE_URL: 'nonsense',
    });
    assert.equal(code, 78, stderr);
    assert.match(stderr, /order-service ended with exit code 78/);
    assert.match(stderr, /DATABASE_URL/);
  });
});
