import assert from 'node:assert/strict';
import { it } from 'node:test';
import { services } from '../../scripts/lib/services.ts';
import { describeWithHelm, type Manifest, podSpecOf } from './lib/helm.ts';

const servers = { 'global.nats.type': 'bundled', 'global.valkey.type': 'bundled' };

/** Characters that `controller-revision-hash` appends to the name of a StatefulSet: a hyphen and a hash of ten. */
const revisionHash = 11;

await describeWithHelm('release names', ({ render }) => {
  for (const length of [1, 20, 28, 29, 40, 53]) {
    it(`give every object a valid name and labels with ${length} characters`, async () => {
      const { all, names } = await render(servers, { release: 'r'.repeat(length) });
      for (const { kind, metadata, spec } of all) {
        const longest = kind === 'StatefulSet' ? 63 - revisionHash : kind === 'Service' ? 63 : 253;
        assert.ok(metadata.name.length <= longest, `${kind} ${metadata.name}`);
        const labels = { ...metadata.labels, ...spec?.template?.metadata.labels };
        for (const [label, value] of Object.entries<string>(labels))
          assert.match(value, /^[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/, label);
      }
      assert.equal(new Set(names('StatefulSet')).size, 3);
      for (const { kind, spec } of all)
        if (kind === 'StatefulSet') assert.ok(names('Service').includes(spec.serviceName));
    });
  }

  it('do not change the database names of existing releases', async () => {
    const { names } = await render(servers, { release: 'r'.repeat(28) });
    assert.ok(names('StatefulSet').includes(`${'r'.repeat(28)}-user-service-postgresql`));
  });

  it('are rejected when a Service cannot have the name', async () => {
    for (const release of ['zerda.prod', '1zerda'])
      await assert.rejects(render({}, { release }), /cannot begin the name of a Service/);
  });

  it('cannot be overridden for a service that other services call', async () => {
    for (const { name } of services)
      await assert.rejects(render({ [`${name}.nameOverride`]: 'x' }), /nameOverride=x/);
    for (const name of ['user-service', 'order-service'])
      await assert.rejects(render({ [`${name}.fullnameOverride`]: 'x' }), /fullnameOverride=x/);
    const gateway = { 'gateway.fullnameOverride': 'edge' };
    await assert.rejects(render(gateway), /needs global\.auth\.issuer/);
    const rendered = await render({ ...gateway, 'global.auth.issuer': 'https://zerda.example' });
    assert.equal(
      rendered.get('Ingress', 'edge').spec.rules[0].http.paths[0].backend.service.name,
      rendered.get('Service', 'edge').metadata.name,
    );
  });
});

/** Bytes of a Kubernetes quantity. @throws AssertionError when the quantity is missing or has no binary unit */
function bytesOf(quantity: unknown): number {
  const [, number, unit = ''] = /^(\d+)([KMG])i$/.exec(String(quantity)) ?? [];
  assert.ok(number, `${quantity} is not a quantity with a binary unit`);
  return Number(number) * 1024 ** ('KMG'.indexOf(unit) + 1);
}

await describeWithHelm('cluster variants', ({ render }) => {
  it('sets the address families of every Service', async () => {
    const dual = await render({
      ...servers,
      'global.ipFamilyPolicy': 'PreferDualStack',
      'global.ipFamilies': ['IPv6', 'IPv4'],
    });
    const dualServices = dual.all.filter(({ kind }) => kind === 'Service');
    assert.equal(dualServices.length, 10);
    for (const { metadata, spec } of dualServices) {
      assert.equal(spec.ipFamilyPolicy, 'PreferDualStack', metadata.name);
      assert.deepEqual(spec.ipFamilies, ['IPv6', 'IPv4'], metadata.name);
    }
    const { spec } = (await render()).get('Service', 'zerda-gateway');
    assert.equal('ipFamilyPolicy' in spec || 'ipFamilies' in spec, false);
    await assert.rejects(render({ 'global.ipFamilyPolicy': 'Both' }), /ipFamilyPolicy/);
  });

  for (const type of ['NodePort', 'LoadBalancer']) {
    it(`exposes only the API port with a Service of type ${type}`, async () => {
      const { get } = await render({ 'gateway.service.type': type });
      const { spec } = get('Service', 'zerda-gateway-public');
      assert.equal(spec.type, type);
      assert.deepEqual(
        spec.ports.map(({ name }: Manifest) => name),
        ['http'],
      );
      assert.equal(get('Service', 'zerda-gateway').spec.type, 'ClusterIP');
    });
  }

  it('omits user and group IDs with global.openshift', async () => {
    const { all } = await render({ ...servers, 'global.openshift': true });
    const pods = all.flatMap((object) => podSpecOf(object) ?? []);
    assert.equal(pods.length, 8);
    for (const pod of pods)
      for (const { securityContext = {} } of [pod, ...(pod.initContainers ?? []), ...pod.containers])
        for (const field of ['runAsUser', 'runAsGroup', 'fsGroup'])
          assert.equal(securityContext[field], undefined, field);
    for (const { securityContext } of pods) assert.equal(securityContext.runAsNonRoot, true);
  });

  it('limits ephemeral storage above the size of all mounted emptyDirs', async () => {
    for (const values of [
      servers,
      { ...servers, 'user-service.database.bundled.persistence.enabled': false },
    ]) {
      const { all } = await render(values);
      const pods = all.flatMap((object) => podSpecOf(object) ?? []);
      assert.equal(pods.length, 8);
      for (const { initContainers = [], containers, volumes = [] } of pods) {
        for (const { name, resources, volumeMounts = [] } of [...initContainers, ...containers]) {
          if (name === 'smoke') continue;
          const storage = 'ephemeral-storage';
          assert.ok(bytesOf(resources.requests[storage]) > 0, name);
          const mounted = volumes.filter(
            (volume: Manifest) =>
              volume.emptyDir && volumeMounts.some((mount: Manifest) => mount.name === volume.name),
          );
          const total = mounted.reduce(
            (sum: number, { emptyDir }: Manifest) => sum + bytesOf(emptyDir.sizeLimit),
            0,
          );
          assert.ok(bytesOf(resources.limits[storage]) > total, `${name}: ${total} bytes of emptyDir`);
        }
      }
    }
  });

  it('serves port 80 at the default issuer of access tokens, whose URL has no port', async () => {
    const { get } = await render();
    const issuer = new URL(get('ConfigMap', 'zerda-user-service').data.AUTH_ISSUER);
    const { ports } = get('Service', issuer.hostname).spec;
    assert.ok(ports.some(({ port, targetPort }: Manifest) => port === 80 && targetPort === 'http'));
  });
});

await describeWithHelm('versions and variables', ({ render }) => {
  it('label each service with the version of its own image', async () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const { get } = await render({
      'global.imageTag': '1.5.0',
      'user-service.image.tag': '2.0.0-rc.1',
      'order-service.image.digest': digest,
    });
    const version = (kind: string, name: string) =>
      get(kind, name).metadata.labels['app.kubernetes.io/version'];
    assert.equal(version('Deployment', 'zerda-gateway'), '1.5.0');
    assert.equal(version('Deployment', 'zerda-user-service'), '2.0.0-rc.1');
    assert.equal(version('Deployment', 'zerda-order-service'), `sha256-${'a'.repeat(12)}`);
    assert.equal(version('StatefulSet', 'zerda-user-service-postgresql'), '17-bookworm');
    const long = await render({ 'gateway.image.tag': `${'t'.repeat(62)}.${'x'.repeat(60)}` });
    assert.equal(
      long.get('Deployment', 'zerda-gateway').metadata.labels['app.kubernetes.io/version'],
      't'.repeat(62),
    );
  });

  it('accept numbers and booleans from --set and values files', async () => {
    const set = ['--set', 'gateway.env.CACHE_MAX_BYTES=134217728', '--set', 'gateway.env.SOME=true'];
    const { data } = (await render({}, { args: set })).get('ConfigMap', 'zerda-gateway');
    assert.deepEqual([data.CACHE_MAX_BYTES, data.SOME], ['134217728', 'true']);
    const json = await render({ 'gateway.env': { CACHE_MAX_BYTES: 1_000_000_000, SHARE: 0.25 } });
    const numbers = json.get('ConfigMap', 'zerda-gateway').data;
    assert.deepEqual([numbers.CACHE_MAX_BYTES, numbers.SHARE], ['1000000000', '0.25']);
  });
});

await describeWithHelm('retries in front of the gateway', ({ render }) => {
  it('are a Traefik Middleware that the Ingress uses in addition to those of its annotations', async () => {
    const key = 'traefik.ingress.kubernetes.io/router.middlewares';
    const ingress = { enabled: true, traefikRetry: { enabled: true, attempts: 3 } };
    const { get } = await render({ 'gateway.ingress': ingress });
    assert.deepEqual(get('Middleware', 'zerda-gateway-retry').spec, {
      retry: { attempts: 3, initialInterval: '20ms' },
    });
    assert.deepEqual(get('Ingress', 'zerda-gateway').metadata.annotations, {
      [key]: 'zerda-zerda-gateway-retry@kubernetescrd',
    });
    const both = await render({
      'gateway.ingress': { ...ingress, annotations: { [key]: 'edge-auth@kubernetescrd', other: 'kept' } },
    });
    assert.deepEqual(both.get('Ingress', 'zerda-gateway').metadata.annotations, {
      [key]: 'zerda-zerda-gateway-retry@kubernetescrd,edge-auth@kubernetescrd',
      other: 'kept',
    });
    assert.deepEqual((await render()).names('Middleware'), []);
  });

  it('are passed to an HTTPRoute', async () => {
    const retry = { attempts: 2, backoff: '50ms' };
    const httpRoute = { enabled: true, parentRefs: [{ name: 'edge' }], retry };
    const { get } = await render({ 'gateway.httpRoute': httpRoute });
    assert.deepEqual(get('HTTPRoute', 'zerda-gateway').spec.rules[0].retry, retry);
  });
});

await describeWithHelm('the umbrella chart', ({ render }) => {
  it('renders without a disabled service', async () => {
    for (const { name } of services) {
      const { names } = await render({ [`${name}.enabled`]: false, ...servers });
      assert.equal(names('Deployment').includes(`zerda-${name}`), false);
      assert.equal(names('Pod').length, name === 'gateway' ? 0 : 1);
    }
  });

  it('accepts an image tag that is a number', async () => {
    const { get } = await render({ 'global.imageTag': 20261129, 'user-service.image.tag': 1234567890 });
    const image = (name: string) => get('Deployment', name).spec.template.spec.containers[0].image;
    assert.equal(image('zerda-gateway'), 'zerda/gateway:20261129');
    assert.equal(image('zerda-user-service'), 'zerda/user-service:1234567890');
  });
});
