import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeWithHelm, type Manifest, type Rendered } from './testing-helm.ts';

const senders = ['user-service', 'order-service'];

await describeWithHelm('NATS', ({ render }) => {
  const bundled = (values: Record<string, unknown> = {}, args: readonly string[] = []) =>
    render({ 'global.nats.type': 'bundled', ...under('bundled', values) }, { args });
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

  it('is not there unless it is asked for', async () => {
    const rendered = await render();
    assert.ok(!rendered.names('StatefulSet').includes('zerda-nats'));
    for (const service of senders) assert.equal('NATS_URL' in configurationOf(rendered, service), false);
  });

  it('is bundled as a server with JetStream on a volume, which takes the password of one Secret', async () => {
    const rendered = await bundled();
    const secret = rendered.get('Secret', 'zerda-nats');
    assert.match(Buffer.from(secret.data.password, 'base64').toString(), /^[A-Za-z0-9]{32}$/);
    assert.notEqual((await bundled()).get('Secret', 'zerda-nats').data.password, secret.data.password);
    const { spec } = rendered.get('StatefulSet', 'zerda-nats');
    const [server] = spec.template.spec.containers;
    assert.equal(server.image, 'nats:2');
    assert.deepEqual(server.env[0].valueFrom, { secretKeyRef: { name: 'zerda-nats', key: 'password' } });
    assert.deepEqual(server.env[1], { name: 'QUOTED_PASSWORD', value: '"$(PASSWORD)"' });
    const claim = spec.volumeClaimTemplates[0];
    assert.equal(claim.spec.resources.requests.storage, '2Gi');
    assert.ok(
      server.volumeMounts.some(({ name, mountPath }: Manifest) => name === 'data' && mountPath === '/data'),
    );
    const configuration: string = rendered.get('ConfigMap', 'zerda-nats').data['nats-server.conf'];
    assert.match(configuration, /jetstream \{\n {2}store_dir: \/data\n {2}max_file_store: 1800MB\n/);
    assert.match(configuration, /authorization \{\n {2}user: zerda\n {2}password: \$QUOTED_PASSWORD\n/);
    assert.equal(rendered.get('Service', 'zerda-nats').spec.clusterIP, undefined);
  });

  it('is what both services send and hear through; the gateway knows nothing of it', async () => {
    const rendered = await bundled();
    for (const service of senders) {
      const { NATS_URL, NATS_USER, EVENT_SINKS } = configurationOf(rendered, service);
      assert.deepEqual([NATS_URL, NATS_USER, EVENT_SINKS], ['nats://zerda-nats:4222', 'zerda', undefined]);
      const { NATS_PASSWORD, EVENT_SECRET } = secretsOf(rendered, service);
      assert.deepEqual(NATS_PASSWORD, { name: 'zerda-nats', key: 'password' });
      // While services move from one way to the other, some still post.
      assert.ok(EVENT_SECRET);
    }
    assert.equal('NATS_URL' in configurationOf(rendered, 'gateway'), false);
  });

  it('opens its port to both services, and no longer the management port of who hears', async () => {
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
      const way = egressOf(rendered, service).find(({ ports }) => ports[0].port === 4222);
      assert.deepEqual(
        way.to[0].podSelector.matchLabels,
        rendered.get('StatefulSet', 'zerda-nats').spec.selector.matchLabels,
      );
    }
    assert.ok(!egressOf(rendered, 'gateway').some(({ ports }) => ports[0].port === 4222));
    assert.ok(!egressOf(rendered, 'user-service').some(({ ports }) => ports[0].port === 9090));
    const { ingress: hears } = rendered.get('NetworkPolicy', 'zerda-order-service').spec;
    assert.equal(hears.filter(({ ports }: Manifest) => ports[0].port === 'management').length, 1);
  });

  it('takes a Secret, a volume, settings and an image of one’s own', async () => {
    const rendered = await bundled({
      existingSecret: 'mine',
      passwordKey: 'pw',
      'persistence.enabled': false,
      'jetstream.sync_interval': 'always',
      'image.registry': 'mirror.example',
    });
    assert.ok(!rendered.names('Secret').includes('zerda-nats'));
    const { spec } = rendered.get('StatefulSet', 'zerda-nats');
    assert.equal('volumeClaimTemplates' in spec, false);
    assert.deepEqual(spec.template.spec.volumes.at(-1), { name: 'data', emptyDir: { sizeLimit: '2Gi' } });
    assert.equal(spec.template.spec.containers[0].image, 'mirror.example/nats:2');
    assert.deepEqual(spec.template.spec.containers[0].env[0].valueFrom.secretKeyRef, {
      name: 'mine',
      key: 'pw',
    });
    assert.deepEqual(secretsOf(rendered, 'order-service').NATS_PASSWORD, { name: 'mine', key: 'pw' });
    assert.match(rendered.get('ConfigMap', 'zerda-nats').data['nats-server.conf'], /sync_interval: always/);
  });

  it('starts anew when its settings change, and not when anything else does', async () => {
    const checksum = async (values: Record<string, unknown>) =>
      (await bundled(values)).get('StatefulSet', 'zerda-nats').spec.template.metadata.annotations[
        'checksum/configuration'
      ];
    assert.equal(await checksum({}), await checksum({ 'persistence.size': '3Gi' }));
    assert.notEqual(await checksum({}), await checksum({ 'jetstream.max_file_store': '1GB' }));
  });

  it('is external by its URL, entered by user and password of a Secret, or by nothing', async () => {
    const rendered = await external({ existingSecret: 'access', userKey: 'name' });
    assert.ok(!rendered.names('StatefulSet').includes('zerda-nats'));
    for (const service of senders) {
      assert.equal(configurationOf(rendered, service).NATS_URL, 'nats://nats.example:4222');
      const { NATS_USER, NATS_PASSWORD } = secretsOf(rendered, service);
      assert.deepEqual(NATS_USER, { name: 'access', key: 'name' });
      assert.deepEqual(NATS_PASSWORD, { name: 'access', key: 'password' });
    }
    assert.equal('NATS_PASSWORD' in secretsOf(await external(), 'user-service'), false);
    assert.deepEqual(
      egressOf(await external({ port: 4443 }), 'user-service').filter(({ ports }) => ports[0].port === 4443),
      [{ ports: [{ port: 4443, protocol: 'TCP' }] }],
    );
    const [way] = egressOf(
      await external({ to: [{ ipBlock: { cidr: '10.2.0.0/16' } }] }),
      'order-service',
    ).filter(({ ports }) => ports[0].port === 4222);
    assert.deepEqual(way.to, [{ ipBlock: { cidr: '10.2.0.0/16' } }]);
  });

  it('is external by a file of credentials, and with certificates, which are mounted where variables say', async () => {
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
        const volume = volumes.find((one: Manifest) => one.secret?.secretName === secret);
        const mount = containers[0].volumeMounts.find(({ name }: Manifest) => name === volume.name);
        assert.equal(data[variable], `${mount.mountPath}/${key}`);
      }
      assert.equal(data.NATS_STREAM_REPLICAS, '3');
      assert.equal('NATS_PASSWORD' in secretsOf(rendered, service), false);
    }
    const withoutTls = configurationOf(await external(), 'user-service');
    assert.equal('NATS_CA_FILE' in withoutTls || 'NATS_CREDENTIALS_FILE' in withoutTls, false);
  });

  it('is refused where values contradict each other', async () => {
    await assert.rejects(external({ url: '' }), /needs global\.nats\.external\.url/);
    await assert.rejects(external({ url: 'http://nats.example' }), /url/);
    await assert.rejects(external({ credentialsKey: 'user.creds' }), /credentialsKey needs .*existingSecret/);
    await assert.rejects(external({ 'tls.certKey': 'tls.crt' }), /takes certKey and keyKey, or neither/);
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
      /global\.nats\.type=bundled is for the chart of the release/,
    );
  });
});
