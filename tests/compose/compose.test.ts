import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { shell } from '../system/lib/command.ts';
import { eventually } from '../system/lib/eventually.ts';
import { call } from '../system/lib/http.ts';
import { lines } from '../system/lib/specification-lines.ts';
import { createProject, describeWithCompose, type Project } from './testing-compose.ts';

/** Who is to wait until whom is healthy. */
const order = [
  ['user-service', 'user-database'],
  ['order-service', 'order-database'],
  ['order-service', 'user-service'],
  ['gateway', 'user-service'],
  ['gateway', 'order-service'],
] as const;

/** Exit code of what did not end by itself within its grace period. */
const killed = 137;

await describeWithCompose('compose.yaml, run as it is', () => {
  let project: Project;

  before(async () => {
    project = await createProject();
    await project.provideImages();
    await project.up();
  });

  after(async () => {
    assert.deepEqual((await project?.remove()) ?? [], [], 'left behind');
  });

  /** Runs a line of the specification against the published port, and returns the data it prints. */
  const curl = async (line: string) => {
    const { code, stdout, stderr } = await shell(
      line.replace('curl', 'curl --max-time 20').replace('localhost:8000', `localhost:${project.port}`),
    );
    assert.equal(code, 0, stderr);
    const answer = JSON.parse(stdout);
    assert.equal(answer.status, 'success', stdout);
    return answer.data;
  };
  const api = async (path: string, options?: Parameters<typeof call>[1]) => {
    const { status, text, body } = await call(`http://127.0.0.1:${project.port}${path}`, options);
    assert.ok(status < 300, text);
    return body.data;
  };
  const runningServices = async () => {
    const containers = await project.containers();
    for (const { service, status, health = 'healthy' } of containers)
      assert.deepEqual([status, health], ['running', 'healthy'], service);
    return containers.map(({ service }) => service).sort();
  };
  /** An event about a user that order-service hears of: those who are deleted take their open orders with them. */
  const eventsArrive = async (email: string) => {
    const user = await api('/api/users', { method: 'POST', json: { name: 'Dora Grey', email } });
    const order = { user_id: user.id, product: 'Desk', quantity: 1, total: 80.5 };
    const { id } = await api('/api/orders', { method: 'POST', json: order });
    await api(`/api/users/${user.id}`, { method: 'DELETE' });
    await eventually(async () => assert.equal((await api(`/api/orders/${id}`)).status, 'cancelled'));
  };

  it('becomes healthy, each service begun once those it depends on are', async () => {
    assert.deepEqual(await runningServices(), [
      ...['gateway', 'order-database', 'order-service', 'user-database', 'user-service'],
    ]);
    for (const [service, dependency] of order) {
      // The daemon tells it a little after it has done it.
      await eventually(() => {
        const healthy = project.events.indexOf(`${dependency} health_status: healthy`);
        const begun = project.events.indexOf(`${service} start`);
        assert.ok(
          healthy >= 0 && healthy < begun,
          `${service} after ${dependency}: ${project.events.join(', ')}`,
        );
      }, 2_000);
    }
  });

  it('answers the command lines of the specification at its published port', async () => {
    assert.equal((await curl(lines.health)).overall_status, 'healthy');
    const user = await curl(lines.createUser);
    assert.deepEqual([user.name, user.email], ['John Doe', 'john@example.com']);
    const order = await curl(lines.placeOrder);
    assert.deepEqual([order.user_id, order.total, order.status], [1, 999.99, 'pending']);
    const { user: alice, orders } = await curl(lines.profile);
    assert.deepEqual([alice.name, orders.length], ['Alice Johnson', 2]);
    await eventsArrive('dora@example.com');
  });

  it('has its data after down and up, with NATS and Valkey now', async () => {
    await project.down();
    assert.deepEqual(await project.containers(), []);
    await project.up({
      COMPOSE_PROFILES: 'nats,valkey',
      NATS_URL: 'nats://nats:4222',
      VALKEY_URL: 'redis://valkey:6379',
    });
    const services = await runningServices();
    assert.equal(services.length, 7, services.join(' '));
    const names = (await curl(lines.listUsers)).map(({ name }: { name: string }) => name);
    assert.deepEqual(names, ['Alice Johnson', 'Bob Smith', 'Charlie Brown', 'John Doe']);
    assert.equal((await curl(lines.profile)).orders.length, 2);
    assert.notEqual(
      await project.exec('valkey', 'valkey-cli', 'dbsize'),
      '0',
      'requests are not counted there',
    );
    await eventsArrive('dora@example.com');
  });

  it('stops within its grace periods', async () => {
    await project.stop();
    for (const { service, status, exitCode } of await project.containers()) {
      assert.equal(status, 'exited', service);
      if (service.endsWith('-service') || service === 'gateway') assert.equal(exitCode, 0, service);
      else assert.notEqual(exitCode, killed, service);
    }
  });
});
