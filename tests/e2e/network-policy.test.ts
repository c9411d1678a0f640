import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { readInstallation } from './lib/installation.ts';
import { get } from './lib/kubectl.ts';
import { findReachable, imageOf } from './lib/probe.ts';

const { namespace, monitoring, release, ingress, ingressHost } = readInstallation();

type Target =
  | 'gateway'
  | 'users'
  | 'orders'
  | 'gatewayManagement'
  | 'usersManagement'
  | 'ordersManagement'
  | 'usersDatabase'
  | 'ordersDatabase';

/** Returns `address:port` of every port of the release. Addresses instead of names, because a pod may have no access to DNS. */
async function findTargets(): Promise<Record<Target, string>> {
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

// Concurrent, because each test spends most of its time waiting.
describe('network policies', { concurrency: 4 }, () => {
  let image: string;
  let targets: Record<Target, string>;

  before(async () => {
    targets = await findTargets();
    image = await imageOf(namespace, `${release}-gateway`);
  });

  async function reachableFrom(labels: Record<string, string>, from = namespace): Promise<string[]> {
    const reachable = new Set(
      await findReachable(image, Object.values(targets), { namespace: from, labels }),
    );
    return (Object.keys(targets) as Target[]).filter((target) => reachable.has(targets[target])).sort();
  }

  function labelsOf(name: string, component = 'service'): Record<string, string> {
    return {
      'app.kubernetes.io/name': name,
      'app.kubernetes.io/instance': release,
      'app.kubernetes.io/component': component,
    };
  }

  it('allow the gateway to call the APIs of both services, but no database or management port', async () => {
    assert.deepEqual(await reachableFrom(labelsOf('gateway')), ['orders', 'users']);
  });

  it('allow order-service to call user-service, its management port, and its own database', async () => {
    assert.deepEqual(await reachableFrom(labelsOf('order-service')), [
      'ordersDatabase',
      'users',
      'usersManagement',
    ]);
  });

  it('allow user-service to connect to its own database and to send events to order-service', async () => {
    assert.deepEqual(await reachableFrom(labelsOf('user-service')), ['ordersManagement', 'usersDatabase']);
  });

  it('allow a database no connections', async () => {
    assert.deepEqual(await reachableFrom(labelsOf('order-service', 'database')), []);
  });

  it('allow the pod of helm test to call the gateway', async () => {
    assert.deepEqual(await reachableFrom(labelsOf('zerda', 'test')), ['gateway']);
  });

  it('allow no connections of other pods, nor of pods of the release without a policy', async () => {
    assert.deepEqual(await reachableFrom({}), []);
    assert.deepEqual(await reachableFrom({ 'app.kubernetes.io/instance': release }), []);
  });

  it('allow the monitoring namespace to connect to the management ports only', async () => {
    assert.deepEqual(await reachableFrom({}, monitoring), [
      'gatewayManagement',
      'ordersManagement',
      'usersManagement',
    ]);
  });

  it('and the Ingress do not expose the management port', async () => {
    for (const path of ['/metrics', '/livez', '/readyz', '/api/metrics']) {
      const response = await sendRequest(`http://${ingress}${path}`, { headers: { host: ingressHost } });
      assert.equal(response.status, 404, path);
    }
  });
});
