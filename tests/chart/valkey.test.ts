import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeWithHelm, type Manifest, type Rendered } from './lib/helm.ts';

await describeWithHelm('Valkey', ({ render }) => {
  const renderWith = (type: string, values: Record<string, unknown> = {}, args: readonly string[] = []) =>
    render(
      {
        'global.valkey.type': type,
        ...Object.fromEntries(
          Object.entries(values).map(([path, value]) => [`global.valkey.${type}.${path}`, value]),
        ),
      },
      { args },
    );
  const urlOf = (rendered: Rendered, service = 'gateway') =>
    rendered
      .get('Deployment', `zerda-${service}`)
      .spec.template.spec.containers[0].env.find(({ name }: Manifest) => name === 'VALKEY_URL')?.valueFrom
      .secretKeyRef;

  it('is not installed by default', async () => {
    const rendered = await render();
    assert.ok(!rendered.names('Deployment').includes('zerda-valkey'));
    assert.equal(urlOf(rendered), undefined);
    assert.equal('VALKEY_URL' in rendered.get('ConfigMap', 'zerda-gateway').data, false);
  });

  it('installs the bundled server without a disk, with a generated password in its Secret', async () => {
    const rendered = await renderWith('bundled');
    const { data } = rendered.get('Secret', 'zerda-valkey');
    const [password, uri] = [data.password, data.uri].map((text) => Buffer.from(text, 'base64').toString());
    assert.match(password ?? '', /^[A-Za-z0-9]{32}$/);
    assert.equal(uri, `redis://:${password}@zerda-valkey:6379`);
    const { spec } = rendered.get('Deployment', 'zerda-valkey');
    assert.equal(spec.strategy.type, 'Recreate');
    const [server] = spec.template.spec.containers;
    assert.equal(server.image, 'valkey/valkey:8');
    assert.deepEqual(server.args, [
      ...['valkey-server', '--save', '', '--requirepass', '$(PASSWORD)'],
      ...['--maxmemory', '48mb', '--maxmemory-policy', 'allkeys-lru'],
    ]);
    assert.deepEqual(server.env[0].valueFrom.secretKeyRef, { name: 'zerda-valkey', key: 'password' });
    assert.equal('volumes' in spec.template.spec, false);
  });

  it('accepts no connections if no service uses it', async () => {
    const rendered = await renderWith('bundled', {}, ['--set', 'gateway.enabled=false']);
    assert.equal(rendered.get('NetworkPolicy', 'zerda-valkey').spec.ingress, undefined);
  });

  it('accepts connections from the gateway only', async () => {
    const rendered = await renderWith('bundled');
    assert.deepEqual(urlOf(rendered), { name: 'zerda-valkey', key: 'uri' });
    assert.equal(urlOf(rendered, 'user-service'), undefined);
    const { ingress, egress } = rendered.get('NetworkPolicy', 'zerda-valkey').spec;
    assert.equal(egress, undefined);
    assert.deepEqual(ingress, [
      {
        ports: [{ port: 'valkey', protocol: 'TCP' }],
        from: [
          {
            podSelector: {
              matchLabels: rendered.get('Deployment', 'zerda-gateway').spec.selector.matchLabels,
            },
          },
        ],
      },
    ]);
    const rule = rendered
      .get('NetworkPolicy', 'zerda-gateway')
      .spec.egress.find(({ ports }: Manifest) => ports[0].port === 6379);
    assert.deepEqual(
      rule.to[0].podSelector.matchLabels,
      rendered.get('Deployment', 'zerda-valkey').spec.selector.matchLabels,
    );
    const disabled = await render({ 'global.valkey.type': 'bundled', 'gateway.valkey.enabled': false });
    assert.equal(urlOf(disabled), undefined);
  });

  it('uses an external server by a URL in the values or in a Secret', async () => {
    const plain = await renderWith('external', { url: 'rediss://valkey.example:6380', port: 6380 });
    assert.equal(plain.get('ConfigMap', 'zerda-gateway').data.VALKEY_URL, 'rediss://valkey.example:6380');
    assert.ok(!plain.names('Deployment').includes('zerda-valkey'));
    assert.deepEqual(
      plain
        .get('NetworkPolicy', 'zerda-gateway')
        .spec.egress.filter(({ ports }: Manifest) => ports[0].port === 6380),
      [{ ports: [{ port: 6380, protocol: 'TCP' }] }],
    );
    assert.deepEqual(urlOf(await renderWith('external', { existingSecret: 'access', uriKey: 'url' })), {
      name: 'access',
      key: 'url',
    });
  });

  it('rejects values that contradict each other', async () => {
    await assert.rejects(
      renderWith('external'),
      /needs one of global\.valkey\.external\.url and .*existingSecret/,
    );
    await assert.rejects(
      renderWith('external', { url: 'redis://a', existingSecret: 'b' }),
      /needs one of global\.valkey\.external\.url and .*existingSecret/,
    );
    await assert.rejects(renderWith('external', { url: 'http://a' }), /url/);
    await assert.rejects(
      renderWith('bundled', {}, ['--values', 'charts/zerda/values-prod.yaml']),
      /global\.production needs global\.valkey\.bundled\.existingSecret/,
    );
  });
});
