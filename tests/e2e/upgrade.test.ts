import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { services } from '../../scripts/lib/services.ts';
import { eventually } from '../system/lib/eventually.ts';
import { type Answer, type Call, call } from '../system/lib/http.ts';
import { secretValue } from './lib/databases.ts';
import { readInstallation } from './lib/installation.ts';
import { get, type Manifest } from './lib/kubectl.ts';
import { installRelease, type OwnRelease } from './lib/own-release.ts';

const { namespace, images } = readInstallation();
const firstChart = 'tests/e2e/fixtures/zerda-0.1.0.tgz';
const withoutTokens = {
  ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'without-tokens' } },
  data: { AUTH: 'off', ALLOW_UNAUTHENTICATED: 'true' },
};

describe('an upgrade from the first version of the chart', () => {
  let own: OwnRelease;

  before(async () => {
    own = await installRelease({
      ...{ namespace: `${namespace}-upgrade`, release: 'zerda', chart: firstChart },
      // One pod each: it is the data that is looked at. That chart does not know of access tokens, as these images do.
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
  after(() => own?.remove());

  it('keeps all data, passwords and volumes, and what is there goes on', async () => {
    const { user, order } = await calling(async (api) => {
      const user = (await api('users', post({ name: 'Kept', email: 'kept@example.com' }))).body.data;
      const order = (await api('orders', post({ user_id: user.id, product: 'Kept', quantity: 2, total: 5 })))
        .body.data;
      return { user, order };
    });
    const kept = await secretsAndVolumes();

    // Told apart from a fault of the chart.
    await assert.rejects(own.upgrade(['--reuse-values']), /with --reset-then-reuse-values instead of/);
    await own.upgrade(['--reset-then-reuse-values', '--set', 'global.auth.mode=off']);
    assert.deepEqual(await secretsAndVolumes(), kept);

    const pods = await databasePods();
    await own.upgrade(['--reset-then-reuse-values', '--set', 'global.nats.type=bundled']);
    assert.deepEqual(await secretsAndVolumes(), kept);
    // This changes nothing of a database, which is not started anew.
    assert.deepEqual(await databasePods(), pods);
    await calling(async (api) => {
      const profile = (await eventually(() => api(`users/${user.id}/profile`))).body;
      assert.equal(profile.degraded, undefined);
      assert.deepEqual(profile.data.user, user);
      assert.deepEqual(profile.data.orders, [order]);
      const { id } = (await api('orders', post({ user_id: user.id, product: 'New', quantity: 1, total: 1 })))
        .body.data;
      assert.ok(id > order.id);
      // Events go their new way.
      await api(`users/${user.id}`, { method: 'DELETE' });
      await eventually(async () => {
        assert.equal((await api(`orders/${id}`)).body.data.status, 'cancelled');
      });
    });
  });

  it('to an autoscaler leaves as many pods as there are, and so does each upgrade after it', async () => {
    const gateway = 'zerda-gateway';
    const kept = '--reset-then-reuse-values';
    await own.upgrade([kept, '--set', 'gateway.replicas=3']);
    // It looks for the first time after 15 s, and takes none away before five minutes have gone.
    const autoscaling = { enabled: true, minReplicas: 2, maxReplicas: 4, cpuPercent: 1000 };
    await own.upgrade([kept, '--set-json', `gateway.autoscaling=${JSON.stringify(autoscaling)}`]);
    await own.upgrade([kept, '--set', 'gateway.ingress.path=/api']);
    assert.equal((await get(own.namespace, 'deployment', gateway)).spec.replicas, 3);
    const { items } = await get(
      own.namespace,
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
    const passwords = names.map((name) => secretValue(own.namespace, name, 'password'));
    const claims = (await get(own.namespace, 'persistentvolumeclaims')).items
      .filter(({ metadata }: Manifest) => /postgresql/.test(metadata.name))
      .map(({ metadata, spec }: Manifest) => [metadata.name, metadata.uid, spec.volumeName]);
    const events = await secretValue(own.namespace, 'zerda-events', 'secret');
    return { passwords: await Promise.all(passwords), claims, events };
  }

  async function databasePods(): Promise<string[]> {
    const { items } = await get(own.namespace, 'pods', '--selector', 'app.kubernetes.io/component=database');
    return items.map(({ metadata }: Manifest) => metadata.uid);
  }

  async function calling<T>(
    work: (api: (path: string, options?: Call) => Promise<Answer>) => Promise<T>,
  ): Promise<T> {
    const forward = await forwardPort(own.namespace, 'zerda-gateway', { local: 0, remote: 8000 });
    try {
      return await work(async (path, options) => {
        const answer = await call(`${forward.url}/api/${path}`, options);
        assert.ok(answer.status < 300, answer.text);
        return answer;
      });
    } finally {
      await forward.stop();
    }
  }
});

function post(json: unknown): Call {
  return { method: 'POST', json };
}
