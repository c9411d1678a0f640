import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeWithHelm, type Manifest, type Rendered } from './testing-helm.ts';

await describeWithHelm('Valkey', ({ render }) => {
  const of = (type: string, values: Record<string, unknown> = {}, args: readonly string[] = []) =>
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

  it('is not there unless it is asked for', async () => {
    const rendered = await render();
    assert.ok(!rendered.names('Deployment').includes('zerda-valkey'));
    assert.equal(urlOf(rendered), undefined);
    assert.equal('VALKEY_URL' in rendered.get('ConfigMap', 'zerda-gateway').data, false);
  });

  it('is bundled without a disk, behind a password that its Secret has alone and in a URL', async () => {
    const rendered = await of('bundled');
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

  it('is known to the gateway alone, which alone is let in', async () => {
    const rendered = await of('bundled');
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
    const way = rendered
      .get('NetworkPolicy', 'zerda-gateway')
      .spec.egress.find(({ ports }: Manifest) => ports[0].port === 6379);
    assert.deepEqual(
      way.to[0].podSelector.matchLabels,
      rendered.get('Deployment', 'zerda-valkey').spec.selector.matchLabels,
    );
    const elsewhere = await render({ 'global.valkey.type': 'bundled', 'gateway.valkey.enabled': false });
    assert.equal(urlOf(elsewhere), undefined);
  });

  it('is external by its URL, or by that of a Secret', async () => {
    const plain = await of('external', { url: 'rediss://valkey.example:6380', port: 6380 });
    assert.equal(plain.get('ConfigMap', 'zerda-gateway').data.VALKEY_URL, 'rediss://valkey.example:6380');
    assert.ok(!plain.names('Deployment').includes('zerda-valkey'));
    assert.deepEqual(
      plain
        .get('NetworkPolicy', 'zerda-gateway')
        .spec.egress.filter(({ ports }: Manifest) => ports[0].port === 6380),
      [{ ports: [{ port: 6380, protocol: 'TCP' }] }],
    );
    assert.deepEqual(urlOf(await of('external', { existingSecret: 'access', uriKey: 'url' })), {
      name: 'access',
      key: 'url',
    });
  });

  it('is refused where values contradict each other', async () => {
    await assert.rejects(of('external'), /needs one of global\.valkey\.external\.url and .*existingSecret/);
    await assert.rejects(
      of('external', { url: 'redis://a', existingSecret: 'b' }),
      /needs one of global\.valkey\.external\.url and .*existingSecret/,
    );
    await assert.rejects(of('external', { url: 'http://a' }), /url/);
    await assert.rejects(
      of('bundled', {}, ['--values', 'charts/zerda/values-prod.yaml']),
      /global\.production needs global\.valkey\.bundled\.existingSecret/,
    );
  });
});
