import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { shell } from '../kit/command.ts';
import { lines } from '../system/lib/specification-lines.ts';
import { createProject, describeWithCompose, type Project } from './lib/compose.ts';

/** Services, and the dependency that must be healthy before each starts. */
const dependencies = [
  ['user-service', 'user-database'],
  ['order-service', 'order-database'],
  ['order-service', 'user-service'],
  ['gateway', 'user-service'],
  ['gateway', 'order-service'],
] as const;

/** Exit code of a container that was killed after its grace period. */
const killed = 137;

await describeWithCompose('compose.yaml, unchanged', () => {
  let project: Project;

  before(async () => {
    project = await createProject();
    await project.provideImages();
    await project.up();
  });

  after(async () => {
    assert.deepEqual((await project?.remove()) ?? [], [], 'containers, networks or volumes remain');
  });

  /** Runs a command of the specification against the published port and returns the data of its response. */
  const curl = async (line: string) => {
    const { code, stdout, stderr } = await shell(
      line.replace('curl', 'curl --max-time 20').replace('localhost:8000', `localhost:${project.port}`),
    );
    assert.equal(code, 0, stderr);
    const response = JSON.parse(stdout);
    assert.equal(response.status, 'success', stdout);
    return response.data;
  };
  const api = async (path: string, options?: Parameters<typeof sendRequest>[1]) => {
    const { status, text, body } = await sendRequest(`http://127.0.0.1:${project.port}${path}`, options);
    assert.ok(status < 300, text);
    return body.data;
  };
  const runningServices = async () => {
    const containers = await project.containers();
    for (const { service, status, health = 'healthy' } of containers)
      assert.deepEqual([status, health], ['running', 'healthy'], service);
    return containers.map(({ service }) => service).sort();
  };
  /** Asserts that events arrive: the deletion of a user cancels the user's open orders. */
  const expectEvents = async (email: string) => {
    const user = await api('/api/users', { method: 'POST', json: { name: 'Dora Grey', email } });
    const order = { user_id: user.id, product: 'Desk', quantity: 1, total: 80.5 };
    const { id } = await api('/api/orders', { method: 'POST', json: order });
    await api(`/api/users/${user.id}`, { method: 'DELETE' });
    await eventually(async () => assert.equal((await api(`/api/orders/${id}`)).status, 'cancelled'));
  };

  it('becomes healthy, and starts each service after its dependencies are healthy', async () => {
    assert.deepEqual(await runningServices(), [
      ...['gateway', 'order-database', 'order-service', 'user-database', 'user-service'],
    ]);
    for (const [service, dependency] of dependencies) {
      // The daemon reports events with a short delay.
      await eventually(
        () => {
          const healthy = project.events.indexOf(`${dependency} health_status: healthy`);
          const started = project.events.indexOf(`${service} start`);
          assert.ok(
            healthy >= 0 && healthy < started,
            `${service} after ${dependency}: ${project.events.join(', ')}`,
          );
        },
        'the events of the daemon',
        2_000,
      );
    }
  });

  it('runs the commands of the specification at its published port', async () => {
    assert.equal((await curl(lines.health)).overall_status, 'healthy');
    const user = await curl(lines.createUser);
    assert.deepEqual([user.name, user.email], ['John Doe', 'john@example.com']);
    const order = await curl(lines.placeOrder);
    assert.deepEqual([order.user_id, order.total, order.status], [1, 999.99, 'pending']);
    const { user: alice, orders } = await curl(lines.profile);
    assert.deepEqual([alice.name, orders.length], ['Alice Johnson', 2]);
    await expectEvents('dora@example.com');
  });

  it('keeps its data after down and up, now with NATS and Valkey', async () => {
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
      'no requests are counted in Valkey',
    );
    await expectEvents('dora@example.com');
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
