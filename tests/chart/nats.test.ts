import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { eventServices } from '../../scripts/lib/nats-users.ts';
import { root } from '../../scripts/lib/services.ts';
import { serveCluster } from './lib/cluster-api.ts';
import { describeWithHelm, type Manifest, type Rendered } from './lib/helm.ts';

const senders = eventServices.map(({ name }) => name).sort();

/** Keys of the Secret of the bundled server. */
const keys = [...senders.map((name) => `${name}-password`), 'password'].sort();

await describeWithHelm('NATS', ({ render }) => {
  const bundled = (values: Record<string, unknown> = {}, cluster?: readonly string[]) =>
    render(
      { 'global.nats.type': 'bundled', ...under('bundled', values) },
      cluster === undefined ? {} : { cluster },
    );
  const external = (values: Record<string, unknown> = {}) =>
    render({
      'global.nats.type': 'external',
      ...under('external', { url: 'nats://nats.example:4222', ...values }),
    });
  const under = (group: string, values: Record<string, unknown>): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(values).map(([path, value]) => [`global.nats.${group}.${path}`, value]),
    );
  const configurationOf = (rendered: Rendered, service: string) =>
    rendered.get('ConfigMap', `zerda-${service}`).data;
  const podOf = (rendered: Rendered, service: string) =>
    rendered.get('Deployment', `zerda-${service}`).spec.template.spec;
  const secretsOf = (rendered: Rendered, service: string): Record<string, Manifest> =>
    Object.fromEntries(
      (podOf(rendered, service).containers[0].env ?? [])
        .filter(({ valueFrom }: Manifest) => valueFrom !== undefined)
        .map(({ name, valueFrom }: Manifest) => [name, valueFrom.secretKeyRef]),
    );
  const egressOf = (rendered: Rendered, service: string): Manifest[] =>
    rendered.get('NetworkPolicy', `zerda-${service}`).spec.egress;

  it('installs no NATS by default', async () => {
    const rendered = await render();
    assert.ok(!rendered.names('StatefulSet').includes('zerda-nats'));
    for (const service of senders) assert.equal('NATS_URL' in configurationOf(rendered, service), false);
  });

  it('installs the bundled server with JetStream on a volume and its passwords in one Secret', async () => {
    const rendered = await bundled();
    const { data } = rendered.get('Secret', 'zerda-nats');
    assert.deepEqual(Object.keys(data), keys);
    for (const password of Object.values<string>(data)) {
      assert.match(Buffer.from(password, 'base64').toString(), /^[A-Za-z0-9]{32}$/);
    }
    const second = (await bundled()).get('Secret', 'zerda-nats').data;
    assert.equal(new Set([...Object.values(data), ...Object.values(second)]).size, 6, 'all are different');
    const { spec } = rendered.get('StatefulSet', 'zerda-nats');
    const [server] = spec.template.spec.containers;
    assert.equal(server.image, 'nats:2');
    const claim = spec.volumeClaimTemplates[0];
    assert.equal(claim.spec.resources.requests.storage, '2Gi');
    assert.ok(
      server.volumeMounts.some(({ name, mountPath }: Manifest) => name === 'data' && mountPath === '/data'),
    );
    const configuration: string = rendered.get('ConfigMap', 'zerda-nats').data['nats-server.conf'];
    assert.match(configuration, /jetstream \{\n {2}store_dir: \/data\n {2}max_file_store: 1800MB\n/);
    assert.equal(rendered.get('Service', 'zerda-nats').spec.clusterIP, undefined);
  });

  it('has the users and permissions of files/nats-users.conf, and a password for each', async () => {
    const rendered = await bundled();
    const text = await readFile(join(root, 'charts/zerda/files/nats-users.conf'), 'utf8');
    const { data } = rendered.get('ConfigMap', 'zerda-nats');
    assert.equal(data['nats-users.conf'].trim(), text.trim());
    assert.match(data['nats-server.conf'], /^include \.\/nats-users\.conf$/m);
    const { env } = rendered.get('StatefulSet', 'zerda-nats').spec.template.spec.containers[0];
    const findVariable = (variable: string) => env.find(({ name }: Manifest) => name === variable);
    const passwords = [...text.matchAll(/user: ([\w-]+),?\s+password: \$QUOTED_(\w+)/g)];
    const secretKeys = passwords.map(([, user, variable]) => {
      assert.equal(findVariable(`QUOTED_${variable}`).value, `"$(${variable})"`);
      const { name, key } = findVariable(`${variable}`).valueFrom.secretKeyRef;
      assert.equal(name, 'zerda-nats');
      return [user, key];
    });
    assert.deepEqual(secretKeys.sort(), [
      ...senders.map((service) => [service, `${service}-password`]),
      ['zerda', 'password'],
    ]);
  });

  it('keeps its passwords at an upgrade, and generates those that an older chart did not have', async () => {
    const cluster = await serveCluster({ secrets: { 'zerda-nats': { password: 'the existing one' } } });
    const { data } = (await bundled({}, cluster)).get('Secret', 'zerda-nats');
    assert.deepEqual(Object.keys(data), keys);
    assert.equal(Buffer.from(data.password, 'base64').toString(), 'the existing one');
    const complete = Object.fromEntries(keys.map((key) => [key, `the ${key}`]));
    const completeCluster = await serveCluster({ secrets: { 'zerda-nats': complete } });
    const upgraded = (await bundled({}, completeCluster)).get('Secret', 'zerda-nats').data;
    for (const key of keys) assert.equal(Buffer.from(upgraded[key], 'base64').toString(), complete[key]);
  });

  it('rejects an upgrade whose existing Secret lacks a password, before anything is changed', async () => {
    const cluster = await serveCluster({ secrets: { mine: { password: 'the existing one' } } });
    const values = { existingSecret: 'mine' };
    await assert.rejects(bundled(values, cluster), /Secret mine has no key order-service-password/);
    const empty = await serveCluster({
      secrets: { mine: { password: 'a', 'order-service-password': '', 'user-service-password': 'b' } },
    });
    await assert.rejects(bundled(values, empty), /Secret mine has no key order-service-password/);
    const shared = Object.fromEntries(
      senders.map((service) => [`servicePasswordKeys.${service}`, 'password']),
    );
    const rendered = await bundled({ ...values, ...shared }, cluster);
    assert.deepEqual(secretsOf(rendered, 'user-service').NATS_PASSWORD, { name: 'mine', key: 'password' });
  });

  it('accepts unsigned events only with global.nats.signatures=accept-unsigned', async () => {
    for (const service of senders) {
      assert.equal('EVENT_SIGNATURES' in configurationOf(await bundled(), service), false);
      for (const type of ['bundled', 'external']) {
        const rendered = await render({
          'global.nats.type': type,
          'global.nats.signatures': 'accept-unsigned',
          'global.nats.external.url': 'nats://nats.example:4222',
        });
        assert.equal(configurationOf(rendered, service).EVENT_SIGNATURES, 'accept-unsigned');
        assert.equal('EVENT_SIGNATURES' in configurationOf(rendered, 'gateway'), false);
      }
    }
    await assert.rejects(render({ 'global.nats.signatures': 'none' }), /signatures/);
  });

  it('configures both services for NATS, but not the gateway', async () => {
    const rendered = await bundled();
    for (const service of senders) {
      const { NATS_URL, NATS_USER, EVENT_SINKS } = configurationOf(rendered, service);
      assert.deepEqual([NATS_URL, NATS_USER, EVENT_SINKS], ['nats://zerda-nats:4222', service, undefined]);
      const { NATS_PASSWORD, EVENT_SECRET } = secretsOf(rendered, service);
      assert.deepEqual(NATS_PASSWORD, { name: 'zerda-nats', key: `${service}-password` });
      assert.deepEqual(EVENT_SECRET, { name: 'zerda-events', key: 'secret' });
    }
    assert.equal('NATS_URL' in configurationOf(rendered, 'gateway'), false);
  });

  it('allows both services to connect to NATS, and closes the management port for events', async () => {
    const rendered = await bundled();
    const { ingress, egress, policyTypes } = rendered.get('NetworkPolicy', 'zerda-nats').spec;
    assert.deepEqual([egress, policyTypes], [undefined, ['Ingress', 'Egress']]);
    assert.deepEqual(ingress[0].ports, [{ port: 'nats', protocol: 'TCP' }]);
    const from = ingress[0].from.map(({ podSelector }: Manifest) => podSelector.matchLabels);
    assert.deepEqual(
      from.map((labels: Manifest) => labels['app.kubernetes.io/name']),
      senders,
    );
    for (const service of senders) {
      const { matchLabels } = rendered.get('Deployment', `zerda-${service}`).spec.selector;
      assert.ok(
        from.some((labels: Manifest) => JSON.stringify(labels) === JSON.stringify(matchLabels)),
        service,
      );
      const rule = egressOf(rendered, service).find(({ ports }) => ports[0].port === 4222);
      assert.deepEqual(
        rule.to[0].podSelector.matchLabels,
        rendered.get('StatefulSet', 'zerda-nats').spec.selector.matchLabels,
      );
    }
    assert.ok(!egressOf(rendered, 'gateway').some(({ ports }) => ports[0].port === 4222));
    assert.ok(!egressOf(rendered, 'user-service').some(({ ports }) => ports[0].port === 9090));
    const { ingress: receiverIngress } = rendered.get('NetworkPolicy', 'zerda-order-service').spec;
    assert.equal(receiverIngress.filter(({ ports }: Manifest) => ports[0].port === 'management').length, 1);
  });

  it('applies a custom Secret, volume, JetStream settings and image', async () => {
    const rendered = await bundled({
      existingSecret: 'mine',
      passwordKey: 'pw',
      'servicePasswordKeys.order-service': 'orders-pw',
      'persistence.enabled': false,
      'jetstream.sync_interval': 'always',
      'image.registry': 'mirror.example',
    });
    assert.ok(!rendered.names('Secret').includes('zerda-nats'));
    const { spec } = rendered.get('StatefulSet', 'zerda-nats');
    assert.equal('volumeClaimTemplates' in spec, false);
    assert.deepEqual(spec.template.spec.volumes.at(-1), { name: 'data', emptyDir: { sizeLimit: '2Gi' } });
    assert.equal(spec.template.spec.containers[0].image, 'mirror.example/nats:2');
    const references = spec.template.spec.containers[0].env.flatMap(({ valueFrom }: Manifest) =>
      valueFrom === undefined ? [] : [valueFrom.secretKeyRef],
    );
    assert.deepEqual(references.map(({ name, key }: Manifest) => `${name} ${key}`).sort(), [
      'mine orders-pw',
      'mine pw',
      'mine user-service-password',
    ]);
    assert.deepEqual(secretsOf(rendered, 'order-service').NATS_PASSWORD, { name: 'mine', key: 'orders-pw' });
    assert.match(rendered.get('ConfigMap', 'zerda-nats').data['nats-server.conf'], /sync_interval: always/);
  });

  it('restarts only when its configuration changes', async () => {
    const checksum = async (values: Record<string, unknown>) =>
      (await bundled(values)).get('StatefulSet', 'zerda-nats').spec.template.metadata.annotations[
        'checksum/configuration'
      ];
    assert.equal(await checksum({}), await checksum({ 'persistence.size': '3Gi' }));
    assert.notEqual(await checksum({}), await checksum({ 'jetstream.max_file_store': '1GB' }));
  });

  it('uses an external server with user name and password of a Secret, or without credentials', async () => {
    const rendered = await external({ existingSecret: 'access', userKey: 'name' });
    assert.ok(!rendered.names('StatefulSet').includes('zerda-nats'));
    for (const service of senders) {
      assert.equal(configurationOf(rendered, service).NATS_URL, 'nats://nats.example:4222');
      const { NATS_USER, NATS_PASSWORD } = secretsOf(rendered, service);
      assert.deepEqual(NATS_USER, { name: 'access', key: 'name' });
      assert.deepEqual(NATS_PASSWORD, { name: 'access', key: 'password' });
    }
    assert.equal('NATS_PASSWORD' in secretsOf(await external(), 'user-service'), false);
    const perService = await render({
      'global.nats.type': 'external',
      'global.nats.external': { url: 'nats://nats.example:4222', existingSecret: 'access' },
      'order-service.events.natsSecret': 'orders-access',
    });
    assert.equal(secretsOf(perService, 'user-service').NATS_PASSWORD.name, 'access');
    assert.equal(secretsOf(perService, 'order-service').NATS_USER.name, 'orders-access');
    assert.equal(secretsOf(perService, 'order-service').NATS_PASSWORD.name, 'orders-access');
    assert.deepEqual(
      egressOf(await external({ port: 4443 }), 'user-service').filter(({ ports }) => ports[0].port === 4443),
      [{ ports: [{ port: 4443, protocol: 'TCP' }] }],
    );
    const [rule] = egressOf(
      await external({ to: [{ ipBlock: { cidr: '10.2.0.0/16' } }] }),
      'order-service',
    ).filter(({ ports }) => ports[0].port === 4222);
    assert.deepEqual(rule.to, [{ ipBlock: { cidr: '10.2.0.0/16' } }]);
  });

  it('mounts a credentials file and certificates for an external server at the paths of the variables', async () => {
    const rendered = await external({
      existingSecret: 'access',
      credentialsKey: 'user.creds',
      streamReplicas: 3,
      tls: { existingSecret: 'certificates', caKey: 'ca.crt', certKey: 'tls.crt', keyKey: 'tls.key' },
    });
    for (const service of senders) {
      const data = configurationOf(rendered, service);
      const { volumes, containers } = podOf(rendered, service);
      const files = {
        NATS_CREDENTIALS_FILE: ['access', 'user.creds'],
        NATS_CA_FILE: ['certificates', 'ca.crt'],
        NATS_CERT_FILE: ['certificates', 'tls.crt'],
        NATS_KEY_FILE: ['certificates', 'tls.key'],
      };
      for (const [variable, [secret, key]] of Object.entries(files)) {
        const volume = volumes.find((candidate: Manifest) => candidate.secret?.secretName === secret);
        const mount = containers[0].volumeMounts.find(({ name }: Manifest) => name === volume.name);
        assert.equal(data[variable], `${mount.mountPath}/${key}`);
      }
      assert.equal(data.NATS_STREAM_REPLICAS, '3');
      assert.equal('NATS_PASSWORD' in secretsOf(rendered, service), false);
    }
    const perService = await render({
      'global.nats.type': 'external',
      'global.nats.external': { url: 'nats://nats.example:4222', credentialsKey: 'user.creds' },
      ...Object.fromEntries(senders.map((service) => [`${service}.events.natsSecret`, `${service}-creds`])),
    });
    for (const service of senders) {
      const { volumes } = podOf(perService, service);
      assert.ok(volumes.some(({ secret }: Manifest) => secret?.secretName === `${service}-creds`));
    }
    const withoutTls = configurationOf(await external(), 'user-service');
    assert.equal('NATS_CA_FILE' in withoutTls || 'NATS_CREDENTIALS_FILE' in withoutTls, false);
  });

  it('rejects values that contradict each other', async () => {
    await assert.rejects(external({ url: '' }), /needs global\.nats\.external\.url/);
    await assert.rejects(external({ url: 'http://nats.example' }), /url/);
    await assert.rejects(external({ credentialsKey: 'user.creds' }), /credentialsKey needs .*existingSecret/);
    await assert.rejects(
      render({ 'global.nats.type': 'bundled', 'gateway.events.enabled': true }),
      /gateway\.events\.enabled=true needs a user in files\/nats-users\.conf/,
    );
    await assert.rejects(external({ 'tls.certKey': 'tls.crt' }), /needs both certKey and keyKey, or neither/);
    const production = ['--values', 'charts/zerda/values-prod.yaml'];
    await assert.rejects(
      bundled({}, production),
      /global\.production needs global\.nats\.bundled\.existingSecret/,
    );
    await assert.rejects(
      bundled({ existingSecret: 'mine', 'persistence.enabled': false }, production),
      /global\.production needs global\.nats\.bundled\.persistence\.enabled/,
    );
    assert.ok((await bundled({ existingSecret: 'mine' }, production)).get('StatefulSet', 'zerda-nats'));
    await assert.rejects(
      render(
        { 'global.nats.type': 'bundled' },
        { chart: 'charts/zerda/charts/service', args: ['--set', 'nameOverride=user-service'] },
      ),
      /global\.nats\.type=bundled is possible only in the umbrella chart/,
    );
  });
});
