import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { readInstallation } from './lib/installation.ts';
import { get } from './lib/kubectl.ts';
import { imageOf, reachable } from './lib/probe.ts';

const { namespace, monitoring, release, ingress, ingressHost } = readInstallation();

type Door =
  | 'gateway'
  | 'users'
  | 'orders'
  | 'gatewayManagement'
  | 'usersManagement'
  | 'ordersManagement'
  | 'usersDatabase'
  | 'ordersDatabase';

/** Where everything of the release listens. By addresses: a pod that may not ask DNS would look shut off by that alone. */
async function findDoors(): Promise<Record<Door, string>> {
  const api = async (name: string) => {
    const { spec } = await get(namespace, 'service', `${release}-${name}`);
    return `${spec.clusterIP}:${spec.ports[0].port}`;
  };
  const pod = async (name: string, component: string, port: number) => {
    const labels = { 'app.kubernetes.io/name': name, 'app.kubernetes.io/component': component };
    const selector = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
    const { items } = await get(namespace, 'pods', '--selector', selector.join());
    return `${items[0].status.podIP}:${port}`;
  };
  return {
    gateway: await api('gateway'),
    users: await api('user-service'),
    orders: await api('order-service'),
    gatewayManagement: await pod('gateway', 'service', 9090),
    usersManagement: await pod('user-service', 'service', 9090),
    ordersManagement: await pod('order-service', 'service', 9090),
    usersDatabase: await pod('user-service', 'database', 5432),
    ordersDatabase: await pod('order-service', 'database', 5432),
  };
}

// Side by side: each of them waits most of its time.
describe('network policies', { concurrency: 4 }, () => {
  let image: string;
  let doors: Record<Door, string>;

  before(async () => {
    doors = await findDoors();
    image = await imageOf(namespace, `${release}-gateway`);
  });

  async function openTo(labels: Record<string, string>, from = namespace): Promise<string[]> {
    const found = new Set(await reachable(image, Object.values(doors), { namespace: from, labels }));
    return (Object.keys(doors) as Door[]).filter((door) => found.has(doors[door])).sort();
  }

  function ofRelease(name: string, component = 'service'): Record<string, string> {
    return {
      'app.kubernetes.io/name': name,
      'app.kubernetes.io/instance': release,
      'app.kubernetes.io/component': component,
    };
  }

  it('open to the gateway the APIs of both services, and no database or management port', async () => {
    assert.deepEqual(await openTo(ofRelease('gateway')), ['orders', 'users']);
  });

  it('open to order-service the users, also where they are listed for services, and its own database', async () => {
    assert.deepEqual(await openTo(ofRelease('order-service')), [
      'ordersDatabase',
      'users',
      'usersManagement',
    ]);
  });

  it('open to user-service its own database, and where order-service hears its events', async () => {
    assert.deepEqual(await openTo(ofRelease('user-service')), ['ordersManagement', 'usersDatabase']);
  });

  it('open to a database nothing', async () => {
    assert.deepEqual(await openTo(ofRelease('order-service', 'database')), []);
  });

  it('open to a test of the release the gateway', async () => {
    assert.deepEqual(await openTo(ofRelease('zerda', 'test')), ['gateway']);
  });

  it('open nothing to strangers, nor to pods of the release that no rule speaks of', async () => {
    assert.deepEqual(await openTo({}), []);
    assert.deepEqual(await openTo({ 'app.kubernetes.io/instance': release }), []);
  });

  it('open the management ports, and these alone, to the namespace that reads metrics', async () => {
    assert.deepEqual(await openTo({}, monitoring), [
      'gatewayManagement',
      'ordersManagement',
      'usersManagement',
    ]);
  });

  it('leave no way from outside to what the management port tells', async () => {
    for (const path of ['/metrics', '/livez', '/readyz', '/api/metrics']) {
      const response = await fetch(`http://${ingress}${path}`, { headers: { host: ingressHost } });
      assert.equal(response.status, 404, path);
      await response.body?.cancel();
    }
  });
});
