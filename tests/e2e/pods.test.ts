import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { type HttpRequest, sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { services } from '../../scripts/lib/services.ts';
import { readInstallation } from './lib/installation.ts';
import { get, type Manifest, runPod } from './lib/kubectl.ts';
import { imageOf, nodePod } from './lib/probe.ts';

const run = promisify(execFile);
const { namespace, release } = readInstallation();

/** Program that inspects the container of a service. */
const inspection = `
  import { access, readdir, writeFile } from 'node:fs/promises';
  import { getHeapStatistics } from 'node:v8';
  const failure = (attempt) => attempt.then(() => 'done', (error) => error.code);
  const [root, app, tmp, shell, pglite] = await Promise.all([
    failure(writeFile('/written', '')),
    failure(writeFile('/app/bin/main.mjs', '')),
    failure(writeFile('/tmp/written', '')),
    failure(Promise.any(['/bin/sh', '/busybox/sh', '/bin/bash'].map((file) => access(file)))
      .catch(({ errors: [error] }) => Promise.reject(error))),
    failure(import('/app/node_modules/@electric-sql/pglite/dist/index.js')),
  ]);
  const files = (await readdir('/app')).sort();
  const heap = getHeapStatistics().heap_size_limit;
  console.log(JSON.stringify({ uid: process.getuid(), gid: process.getgid(), root, app, tmp, shell, pglite, files, heap }));`;

/** Maximum share of a pod's memory for V8's heap, both generations together. */
const heapShare = 0.75;

describe('the pods', () => {
  for (const { name, database } of services) {
    it(`of ${name} run unprivileged on a read-only root file system, without shell and PGlite, with a heap below the memory limit`, async () => {
      const { spec } = (await get(namespace, 'deployment', `${release}-${name}`)).spec.template;
      const pod = await nodePod(spec.containers[0].image, inspection, { namespace });
      // The same settings as the service's pod, with another program.
      pod.spec.securityContext = spec.securityContext;
      const { securityContext, volumeMounts, resources, env } = spec.containers[0];
      const nodeOptions = env.filter(({ name }: Manifest) => name === 'NODE_OPTIONS');
      Object.assign(pod.spec.containers[0], { securityContext, volumeMounts, resources, env: nodeOptions });
      pod.spec.volumes = spec.volumes;
      const result = JSON.parse(await runPod(pod));
      assert.deepEqual([result.uid, result.gid], [65532, 65532]);
      assert.deepEqual([result.root, result.app, result.tmp], ['EROFS', 'EROFS', 'done']);
      assert.deepEqual([result.shell, result.pglite], ['ENOENT', 'ERR_MODULE_NOT_FOUND']);
      const [, mebibytes] = /^(\d+)Mi$/.exec(resources.limits.memory) ?? [];
      assert.ok(result.heap < Number(mebibytes) * 2 ** 20 * heapShare, `${result.heap} of ${mebibytes} Mi`);
      const assets = database ? ['migrations'] : ['routes.yaml'];
      if (name === 'user-service') assets.push('common-passwords.bloom');
      // The modules are manifests of the bundled packages, and the native module that hashes passwords.
      assert.deepEqual(result.files, ['bin', 'node_modules', ...assets].sort());
    });
  }

  it('are all ready, without restarts and service account tokens', async () => {
    const { items } = await get(namespace, 'pods', '--selector', `app.kubernetes.io/instance=${release}`);
    assert.equal(items.length, 8);
    for (const { metadata, spec, status } of items) {
      assert.equal(spec.automountServiceAccountToken, false, metadata.name);
      const ready = status.conditions.find(({ type }: Manifest) => type === 'Ready');
      assert.equal(ready.status, 'True', metadata.name);
      for (const { restartCount } of [...(status.initContainerStatuses ?? []), ...status.containerStatuses])
        assert.equal(restartCount, 0, metadata.name);
    }
  });

  it('of the gateway resolve the headless Services to the addresses of all their pods', async () => {
    const { data } = await get(namespace, 'configmap', `${release}-gateway`);
    const image = await imageOf(namespace, `${release}-gateway`);
    for (const [variable, service] of Object.entries({
      USER_SERVICE_URL: 'user-service',
      ORDER_SERVICE_URL: 'order-service',
    })) {
      const { hostname } = new URL(data[variable]);
      assert.equal(hostname, `${release}-${service}-headless`);
      const program = `
        import { lookup } from 'node:dns/promises';
        const addresses = await lookup(${JSON.stringify(hostname)}, { all: true });
        console.log(JSON.stringify(addresses.map(({ address }) => address).sort()));`;
      const gateway = { 'app.kubernetes.io/name': 'gateway', 'app.kubernetes.io/instance': release };
      const labels = { ...gateway, 'app.kubernetes.io/component': 'service' };
      const addresses = JSON.parse(await runPod(await nodePod(image, program, { namespace, labels })));
      const { items } = await get(
        namespace,
        ...['pods', '--selector', `app.kubernetes.io/name=${service},app.kubernetes.io/component=service`],
      );
      assert.deepEqual(addresses, items.map(({ status }: Manifest) => status.podIP).sort());
    }
  });

  it('deliver events: the open orders of a deleted user are canceled', async (t) => {
    const forward = await forwardPort(namespace, `${release}-gateway`, { local: 0, remote: 8000 });
    t.after(() => forward.stop());
    const api = (path: string, options?: HttpRequest) => sendRequest(`${forward.url}/api/${path}`, options);
    const person = { name: 'Eve Moss', email: `eve-${Date.now()}@example.com` };
    const user = (await api('users', { method: 'POST', json: person })).body.data;
    const order = { user_id: user.id, product: 'Lamp', quantity: 1, total: 12 };
    const placed = await api('orders', { method: 'POST', json: order });
    assert.equal(placed.status, 201, placed.text);
    assert.equal((await api(`users/${user.id}`, { method: 'DELETE' })).status, 200);
    await eventually(async () => {
      const { status } = (await api(`orders/${placed.body.data.id}`)).body.data;
      assert.equal(status, 'cancelled');
    });
  });

  it('pass helm test', async () => {
    const { stdout } = await run('helm', ['test', release, '--namespace', namespace, '--logs']);
    assert.match(stdout, /Phase:\s+Succeeded/);
    assert.match(stdout, /GET \/api\/users\/\d+\/profile: 200/);
  });
});
