import assert from 'node:assert/strict';
import { it } from 'node:test';
import { serviceVariables } from '../../scripts/checks/generated.ts';
import { planPush } from '../../scripts/lib/images.ts';
import { services } from '../../scripts/lib/services.ts';
import { describeWithHelm, type Manifest, podSpecOf, type Rendered } from './lib/helm.ts';

const profiles = {
  default: [],
  dev: ['--values', 'charts/zerda/values-dev.yaml'],
  prod: ['--values', 'charts/zerda/values-prod.yaml'],
  bundled: ['--values', 'tests/chart/golden/bundled.values.yaml'],
} as const;

/** Variables that Node reads, not a service. */
const nodeVariables = new Set(['NODE_OPTIONS']);

await describeWithHelm('the chart of the release', ({ render }) => {
  const profile = (name: keyof typeof profiles) => render({}, { args: profiles[name] });
  const policyOf = (rendered: Rendered, name: string) => rendered.get('NetworkPolicy', name).spec;

  for (const name of Object.keys(profiles) as (keyof typeof profiles)[]) {
    it(`keeps every container to PodSecurity's restricted and a read-only root (${name})`, async () => {
      const { all } = await profile(name);
      const pods = all.flatMap((object) => podSpecOf(object) ?? []);
      assert.ok(pods.length >= 4);
      for (const pod of pods) {
        assert.equal(pod.automountServiceAccountToken, false);
        assert.equal(pod.enableServiceLinks, false);
        assert.equal(pod.securityContext.runAsNonRoot, true);
        assert.ok(pod.securityContext.runAsUser > 0 && pod.securityContext.runAsGroup > 0);
        assert.deepEqual(pod.securityContext.seccompProfile, { type: 'RuntimeDefault' });
        for (const { resources, securityContext } of [...(pod.initContainers ?? []), ...pod.containers]) {
          assert.deepEqual(securityContext, {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
          assert.ok(resources.requests.cpu && resources.requests.memory && resources.limits.memory);
        }
      }
    });

    it(`sets only variables that the service declares, each once (${name})`, async () => {
      const rendered = await profile(name);
      for (const { name: service } of services) {
        const known = new Set(serviceVariables.get(service)?.map((variable) => variable.name));
        const { data } = rendered.get('ConfigMap', `zerda-${service}`);
        const pod = rendered.get('Deployment', `zerda-${service}`).spec.template.spec;
        for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
          const set = [
            ...Object.keys(data),
            ...(container.env ?? []).map((variable: Manifest) => variable.name as string),
          ];
          assert.deepEqual(
            set.filter((variable) => !known.has(variable) && !nodeVariables.has(variable)),
            [],
            service,
          );
          assert.equal(new Set(set).size, set.length, `${service}: ${set.join(' ')}`);
        }
      }
    });
  }

  it('selects the pods of each service by its own labels, without version labels in pods', async () => {
    const { all } = await profile('default');
    const selectors = new Set<string>();
    for (const { kind, spec, metadata } of all) {
      if (kind !== 'Deployment' && kind !== 'StatefulSet') continue;
      const { labels } = spec.template.metadata;
      for (const [label, value] of Object.entries(spec.selector.matchLabels))
        assert.equal(labels[label], value);
      selectors.add(JSON.stringify(spec.selector.matchLabels));
      assert.equal('app.kubernetes.io/version' in labels || 'helm.sh/chart' in labels, false);
      for (const label of ['name', 'instance', 'version', 'component', 'part-of', 'managed-by'])
        assert.ok(metadata.labels[`app.kubernetes.io/${label}`], `${metadata.name} ${label}`);
      assert.ok(metadata.labels['helm.sh/chart']);
    }
    assert.equal(selectors.size, 5);
  });

  it('does not change pods of other services when one service is upgraded', async () => {
    const [before, after] = await Promise.all([
      profile('prod'),
      render(
        { 'gateway.image.tag': '9.9.9', 'gateway.env': { LOG_LEVEL: 'trace' } },
        { args: profiles.prod },
      ),
    ]);
    const template = (rendered: Rendered, service: string) =>
      rendered.get('Deployment', `zerda-${service}`).spec.template;
    assert.deepEqual(template(after, 'user-service'), template(before, 'user-service'));
    assert.deepEqual(template(after, 'order-service'), template(before, 'order-service'));
    assert.notDeepEqual(template(after, 'gateway'), template(before, 'gateway'));
  });

  it('denies traffic by default and allows only required connections', async () => {
    const rendered = await profile('default');
    assert.deepEqual(policyOf(rendered, 'zerda-default-deny'), {
      podSelector: { matchLabels: { 'app.kubernetes.io/instance': 'zerda' } },
      policyTypes: ['Ingress', 'Egress'],
    });
    for (const { kind, spec, metadata } of rendered.all) {
      if (kind !== 'NetworkPolicy' || metadata.name === 'zerda-gateway-from-test') continue;
      assert.deepEqual(spec.policyTypes, ['Ingress', 'Egress'], metadata.name);
    }
    const database = policyOf(rendered, 'zerda-order-service-postgresql');
    assert.deepEqual(database.ingress[0].from, [
      {
        podSelector: {
          matchLabels: rendered.get('Deployment', 'zerda-order-service').spec.selector.matchLabels,
        },
      },
    ]);
    assert.equal('egress' in database, false);
    const ports = (service: string) =>
      policyOf(rendered, `zerda-${service}`).egress.map(({ ports: [first] }: Manifest) => first.port);
    assert.deepEqual(ports('gateway'), [53, 8002, 8001]);
    assert.deepEqual(ports('order-service'), [53, 9090, 8001, 5432]);
    assert.deepEqual(ports('user-service'), [53, 9090, 5432]);
    const from = policyOf(rendered, 'zerda-user-service').ingress[0].from.map(
      ({ podSelector }: Manifest) => podSelector.matchLabels['app.kubernetes.io/name'],
    );
    assert.deepEqual(from, ['gateway', 'order-service']);
  });

  it('allows ingress from the namespaces of the ingress controller and Prometheus, which values can change', async () => {
    const edgeNamespace = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'edge' } } };
    const standard = policyOf(await profile('default'), 'zerda-gateway');
    assert.ok(standard.ingress[0].from[0].namespaceSelector.matchExpressions[0].values.includes('traefik'));
    assert.equal(standard.ingress[1].ports[0].port, 'management');
    const changed = policyOf(
      await render({
        'gateway.networkPolicy.from': [edgeNamespace],
        'gateway.networkPolicy.metricsFrom': [],
        'gateway.networkPolicy.dns': [{ ipBlock: { cidr: '169.254.20.10/32' } }],
        'gateway.networkPolicy.egress': [{ ports: [{ port: 4318 }] }],
      }),
      'zerda-gateway',
    );
    assert.deepEqual(changed.ingress.length, 1);
    assert.deepEqual(changed.ingress[0].from, [edgeNamespace]);
    assert.deepEqual(changed.egress[0].to, [{ ipBlock: { cidr: '169.254.20.10/32' } }]);
    assert.deepEqual(changed.egress.at(-1), { ports: [{ port: 4318 }] });
    assert.deepEqual((await render({ 'global.networkPolicies': false })).names('NetworkPolicy'), []);
  });

  it('allows egress to the external database on its port', async () => {
    const policy = async (to: unknown[]) =>
      policyOf(
        await render({
          'user-service.database.type': 'external',
          'user-service.database.external': { existingSecret: 'users-app', port: 6432, to },
        }),
        'zerda-user-service',
      ).egress.at(-1);
    assert.deepEqual(await policy([]), { ports: [{ port: 6432, protocol: 'TCP' }] });
    assert.deepEqual((await policy([{ ipBlock: { cidr: '10.0.0.0/8' } }])).to, [
      { ipBlock: { cidr: '10.0.0.0/8' } },
    ]);
  });

  it('delivers events to the management port of the receiver, signed with one secret that is kept', async () => {
    const rendered = await profile('default');
    const secret = rendered.get('Secret', 'zerda-events');
    assert.equal(secret.metadata.annotations['helm.sh/resource-policy'], 'keep');
    assert.ok(Buffer.from(secret.data.secret, 'base64').length >= 32);
    const configuration = (service: string) => rendered.get('ConfigMap', `zerda-${service}`).data;
    assert.equal(configuration('user-service').EVENT_SINKS, 'http://zerda-order-service:9090/events');
    assert.equal('EVENT_SINKS' in configuration('order-service'), false);
    const secretOf = ({ get }: Rendered, service: string) =>
      get('Deployment', `zerda-${service}`).spec.template.spec.containers[0].env.find(
        ({ name }: Manifest) => name === 'EVENT_SECRET',
      )?.valueFrom.secretKeyRef;
    for (const service of ['user-service', 'order-service'])
      assert.deepEqual(secretOf(rendered, service), { name: 'zerda-events', key: 'secret' });
    assert.equal(secretOf(rendered, 'gateway'), undefined);
    const [, events] = policyOf(rendered, 'zerda-order-service').ingress;
    assert.deepEqual(events.ports, [{ port: 'management', protocol: 'TCP' }]);
    assert.equal(events.from[0].podSelector.matchLabels['app.kubernetes.io/name'], 'user-service');

    const existing = await render({ 'global.eventsSecret': 'mine' });
    assert.deepEqual(existing.names('Secret').includes('zerda-events'), false);
    assert.equal(secretOf(existing, 'user-service').name, 'mine');
    await assert.rejects(
      render({ 'global.eventsSecret': '' }, { args: profiles.prod }),
      /global\.production needs global\.eventsSecret/,
    );
  });

  it('generates the secret of management calls for all services, but not in production', async () => {
    const nameIn = ({ get }: Rendered, service: string) =>
      get('Deployment', `zerda-${service}`).spec.template.spec.containers[0].env.find(
        ({ name }: Manifest) => name === 'MANAGEMENT_SECRET',
      ).valueFrom.secretKeyRef;
    const rendered = await render({});
    for (const service of ['gateway', 'user-service', 'order-service'])
      assert.deepEqual(nameIn(rendered, service), {
        name: 'zerda-management',
        key: 'secret',
        optional: true,
      });
    assert.ok(rendered.names('Secret').includes('zerda-management'));
    const production = await render({}, { args: profiles.prod });
    assert.equal(production.names('Secret').includes('zerda-management'), false);
    const existing = await render({ 'global.managementSecret': 'mine' });
    assert.equal(existing.names('Secret').includes('zerda-management'), false);
    assert.equal(nameIn(existing, 'gateway').name, 'mine');
  });

  it('takes third-party images from global.thirdPartyRegistry, not from global.imageRegistry', async () => {
    const servers = { 'global.nats.type': 'bundled', 'global.valkey.type': 'bundled' };
    const images = async (values: Record<string, unknown>) => {
      const { all } = await render({ ...servers, ...values });
      const pods = all.flatMap((object) => podSpecOf(object) ?? []);
      const containers = pods.flatMap((pod) => [...(pod.initContainers ?? []), ...pod.containers]);
      return [...new Set(containers.map(({ image }: Manifest) => image as string))].sort();
    };
    // The images that `npm run images` pushes.
    const push = { builder: 'docker', registry: 'r.example/you/' } as const;
    const serviceImages = services.map(({ name, version }) => planPush(name, version, push).image).sort();
    const thirdPartyImages = ['nats:2', 'postgres:17-bookworm', 'valkey/valkey:8'];
    assert.deepEqual(
      await images({ 'global.imageRegistry': 'r.example/you' }),
      [...serviceImages, ...thirdPartyImages].sort(),
    );
    assert.deepEqual(
      (await images({ 'global.thirdPartyRegistry': 'mirror.example' })).filter((image) =>
        image.startsWith('mirror.example/'),
      ),
      thirdPartyImages.map((image) => `mirror.example/${image}`),
    );
  });

  it('accepts globals of a parent chart', async () => {
    const rendered = await render({ 'global.storageClass': 'fast', 'global.postgresql': { auth: {} } });
    assert.ok(rendered.names('Deployment').includes('zerda-gateway'));
  });

  it('runs helm test in the gateway image and deletes the pod when it succeeds', async () => {
    const { metadata, spec } = (
      await render({ 'global.imageRegistry': 'r.example', 'gateway.image.tag': '7' })
    ).get('Pod', 'zerda-smoke-test');
    assert.equal(metadata.annotations['helm.sh/hook'], 'test');
    assert.match(metadata.annotations['helm.sh/hook-delete-policy'], /hook-succeeded/);
    assert.equal(spec.containers[0].image, 'r.example/zerda/gateway:7');
    assert.equal(spec.containers[0].env[0].value, 'http://zerda-gateway:8000');
    assert.match(spec.containers[0].args.at(-1), /\/api\/orders/);
  });

  it('adds extraObjects, as text with templates or as objects', async () => {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'b' } };
    const text = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ .Release.Name }}-a"}';
    const rendered = await render({ extraObjects: [text, object] });
    assert.deepEqual(
      rendered
        .names('ConfigMap')
        .filter((name) => /^(zerda-a|b)$/.test(name))
        .sort(),
      ['b', 'zerda-a'],
    );
  });
});
