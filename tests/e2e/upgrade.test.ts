import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type HttpRequest, type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { services } from '../../scripts/lib/services.ts';
import { secretValue } from './lib/databases.ts';
import { readInstallation } from './lib/installation.ts';
import { get, type Manifest } from './lib/kubectl.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const { namespace, images } = readInstallation();
const firstChart = 'tests/e2e/fixtures/zerda-0.1.0.tgz';
const withoutTokens = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'without-tokens' },
  data: { AUTH: 'off', ALLOW_UNAUTHENTICATED: 'true' },
};

describe('an upgrade from the first version of the chart', () => {
  let testRelease: TestRelease;

  before(async () => {
    testRelease = await installRelease({
      namespace: `${namespace}-upgrade`,
      release: 'zerda',
      chart: firstChart,
      // One pod each is enough for a test of the data. The images need access tokens, which that chart does not support.
      options: [
        ...images,
        ...['--set-json', `extraObjects=${JSON.stringify([withoutTokens])}`],
        ...services.flatMap(({ name }) => [
          ...['--set', `${name}.replicas=1`],
          ...['--set', `${name}.envFrom[0].configMapRef.name=${withoutTokens.metadata.name}`],
        ]),
      ],
    });
  });
  after(() => testRelease?.remove());

  it('keeps all data, passwords and volumes, and serves requests and events', async () => {
    const { user, order } = await withApi(async (api) => {
      const user = (await api('users', post({ name: 'Kept', email: 'kept@example.com' }))).body.data;
      const order = (await api('orders', post({ user_id: user.id, product: 'Kept', quantity: 2, total: 5 })))
        .body.data;
      return { user, order };
    });
    const before = await secretsAndVolumes();

    // A clear message instead of a failing template.
    await assert.rejects(
      testRelease.upgrade(['--reuse-values']),
      /with --reset-then-reuse-values instead of/,
    );
    await testRelease.upgrade(['--reset-then-reuse-values', '--set', 'global.auth.mode=off']);
    assert.deepEqual(await secretsAndVolumes(), before);

    const pods = await databasePods();
    await testRelease.upgrade(['--reset-then-reuse-values', '--set', 'global.nats.type=bundled']);
    assert.deepEqual(await secretsAndVolumes(), before);
    // The upgrade does not restart the databases.
    assert.deepEqual(await databasePods(), pods);
    await withApi(async (api) => {
      const profile = (await eventually(() => api(`users/${user.id}/profile`))).body;
      assert.equal(profile.degraded, undefined);
      assert.deepEqual(profile.data.user, user);
      assert.deepEqual(profile.data.orders, [order]);
      const { id } = (await api('orders', post({ user_id: user.id, product: 'New', quantity: 1, total: 1 })))
        .body.data;
      assert.ok(id > order.id);
      // Events now use NATS.
      await api(`users/${user.id}`, { method: 'DELETE' });
      await eventually(async () => {
        assert.equal((await api(`orders/${id}`)).body.data.status, 'cancelled');
      });
    });
  });

  it('to an autoscaler keeps the number of pods, and so does each later upgrade', async () => {
    const gateway = 'zerda-gateway';
    const keepValues = '--reset-then-reuse-values';
    await testRelease.upgrade([keepValues, '--set', 'gateway.replicas=3']);
    // The autoscaler syncs every 15 s, and removes no pod for the first five minutes.
    const autoscaling = { enabled: true, minReplicas: 2, maxReplicas: 4, cpuPercent: 1000 };
    await testRelease.upgrade([
      keepValues,
      '--set-json',
      `gateway.autoscaling=${JSON.stringify(autoscaling)}`,
    ]);
    await testRelease.upgrade([keepValues, '--set', 'gateway.ingress.path=/api']);
    assert.equal((await get(testRelease.namespace, 'deployment', gateway)).spec.replicas, 3);
    const { items } = await get(
      testRelease.namespace,
      'events',
      '--field-selector',
      `reason=ScalingReplicaSet,involvedObject.name=${gateway}`,
    );
    const messages: string[] = items.map(({ message }: Manifest) => message);
    assert.ok(messages.some((message) => message.startsWith('Scaled up')));
    assert.deepEqual(
      messages.filter((message) => message.includes(' from 3 to ')),
      [],
    );
  });

  async function secretsAndVolumes(): Promise<unknown> {
    const names = ['zerda-user-service-postgresql', 'zerda-order-service-postgresql'];
    const passwords = names.map((name) => secretValue(testRelease.namespace, name, 'password'));
    const claims = (await get(testRelease.namespace, 'persistentvolumeclaims')).items
      .filter(({ metadata }: Manifest) => /postgresql/.test(metadata.name))
      .map(({ metadata, spec }: Manifest) => [metadata.name, metadata.uid, spec.volumeName]);
    const events = await secretValue(testRelease.namespace, 'zerda-events', 'secret');
    return { passwords: await Promise.all(passwords), claims, events };
  }

  async function databasePods(): Promise<string[]> {
    const { items } = await get(
      testRelease.namespace,
      'pods',
      '--selector',
      'app.kubernetes.io/component=database',
    );
    return items.map(({ metadata }: Manifest) => metadata.uid);
  }

  async function withApi<T>(
    work: (api: (path: string, options?: HttpRequest) => Promise<HttpResponse>) => Promise<T>,
  ): Promise<T> {
    const forward = await forwardPort(testRelease.namespace, 'zerda-gateway', { local: 0, remote: 8000 });
    try {
      return await work(async (path, options) => {
        const response = await sendRequest(`${forward.url}/api/${path}`, options);
        assert.ok(response.status < 300, response.text);
        return response;
      });
    } finally {
      await forward.stop();
    }
  }
});

function post(json: unknown): HttpRequest {
  return { method: 'POST', json };
}
