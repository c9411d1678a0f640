import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type ClusterDeployment, serveCluster } from './lib/cluster-api.ts';
import { describeWithHelm, type Manifest } from './lib/helm.ts';

await describeWithHelm('canary without a controller', ({ render }) => {
  const canaryOf = (service: string, values: Record<string, unknown> = {}) => ({
    [`${service}.canary.replicas`]: 1,
    [`${service}.canary.tag`]: '1.3.0',
    ...values,
  });
  const route = {
    'gateway.httpRoute.enabled': true,
    'gateway.httpRoute.parentRefs': [{ name: 'public' }],
  };
  const labelsOf = (deployment: Manifest): Manifest => deployment.spec.template.metadata.labels;

  it('is not used by default', async () => {
    const rendered = await render(route);
    assert.ok(rendered.names('Deployment').every((name) => !name.endsWith('-canary')));
    assert.ok(rendered.names('Service').every((name) => !/-(canary|stable)$/.test(name)));
    const [{ backendRefs }] = rendered.get('HTTPRoute', 'zerda-gateway').spec.rules;
    assert.deepEqual(backendRefs, [{ name: 'zerda-gateway', port: 8000 }]);
  });

  it('runs pods of the other version, which differ from those of the service only in image, number and track', async () => {
    const rendered = await render(canaryOf('order-service', { 'order-service.autoscaling.enabled': true }));
    const stable = rendered.get('Deployment', 'zerda-order-service');
    const canary = rendered.get('Deployment', 'zerda-order-service-canary');
    assert.equal(canary.spec.replicas, 1);
    assert.equal('replicas' in stable.spec, false, 'the autoscaler scales the service');
    assert.equal(canary.spec.selector.matchLabels['zerda.dev/track'], 'canary');
    assert.equal(
      'zerda.dev/track' in stable.spec.selector.matchLabels,
      false,
      'a selector cannot be changed',
    );
    assert.deepEqual(
      [labelsOf(stable), labelsOf(canary)].map((labels) => labels['zerda.dev/track']),
      ['stable', 'canary'],
    );
    const asStable = JSON.parse(
      JSON.stringify(canary.spec.template).replaceAll(':1.3.0', ':0.1.0').replace('"canary"', '"stable"'),
    );
    assert.deepEqual(asStable, stable.spec.template);
    assert.deepEqual(rendered.names('HorizontalPodAutoscaler'), ['zerda-order-service']);
  });

  it('receives its share of the calls, since the Services and policies of the service select both versions', async () => {
    const rendered = await render(canaryOf('order-service'));
    const labels = labelsOf(rendered.get('Deployment', 'zerda-order-service-canary'));
    const selectors = [
      rendered.get('Service', 'zerda-order-service').spec.selector,
      rendered.get('Service', 'zerda-order-service-headless').spec.selector,
      rendered.get('NetworkPolicy', 'zerda-order-service').spec.podSelector.matchLabels,
      rendered.get('PodDisruptionBudget', 'zerda-order-service').spec.selector.matchLabels,
    ];
    for (const selector of selectors)
      for (const [name, value] of Object.entries(selector)) assert.equal(labels[name], value, name);
  });

  /** Returns the arguments that connect Helm to a cluster with these ready pods of the canary. */
  const withCanary = (ready: number): Promise<string[]> =>
    serveCluster({
      deployments: {
        'zerda-gateway': { podLabels: { 'zerda.dev/track': 'stable' }, ready: 2 },
        'zerda-gateway-canary': { podLabels: { 'zerda.dev/track': 'canary' }, ready },
      },
    });

  it('receives the weight of the HTTPRoute, whatever the numbers of pods are', async () => {
    const cluster = await withCanary(1);
    for (const weight of [0, 10, 100]) {
      const values = { ...route, ...canaryOf('gateway', { 'gateway.canary.weight': weight }) };
      const rendered = await render(values, { cluster });
      const [{ backendRefs }] = rendered.get('HTTPRoute', 'zerda-gateway').spec.rules;
      assert.deepEqual(backendRefs, [
        { name: 'zerda-gateway-stable', port: 8000, weight: 100 - weight },
        { name: 'zerda-gateway-canary', port: 8000, weight },
      ]);
      for (const track of ['stable', 'canary']) {
        const { selector } = rendered.get('Service', `zerda-gateway-${track}`).spec;
        assert.equal(selector['zerda.dev/track'], track);
      }
    }
  });

  it('receives no weight before its pods are ready', async () => {
    const values = { ...route, ...canaryOf('gateway', { 'gateway.canary.weight': 10 }) };
    const needed = /canary\.weight needs pods of the canary that are ready.*--wait first/;
    await assert.rejects(render(values), needed);
    await assert.rejects(render(values, { cluster: await withCanary(0) }), needed);
  });

  it('cannot start beside pods of an earlier version of the chart, nor while pods are replaced', async () => {
    const values = { ...route, ...canaryOf('gateway') };
    const startBeside = async (stable: ClusterDeployment): Promise<unknown> =>
      render(values, { cluster: await serveCluster({ deployments: { 'zerda-gateway': stable } }) });
    const podLabels = { 'zerda.dev/track': 'stable' };
    await assert.rejects(
      startBeside({ ready: 2 }),
      /earlier version of the chart\. Upgrade without canary\.replicas first/,
    );
    await assert.rejects(
      startBeside({ podLabels, ready: 2, updated: 1 }),
      /replacing pods\. Wait with kubectl rollout status deployment\/zerda-gateway --namespace zerda/,
    );
    await assert.rejects(startBeside({ podLabels, ready: 2, observed: false }), /replacing pods/);
    await startBeside({ podLabels, ready: 2 });
  });

  it('does not prevent an upgrade of the service while it runs', async () => {
    const cluster = await serveCluster({
      deployments: {
        'zerda-gateway': { podLabels: { 'zerda.dev/track': 'stable' }, ready: 2, updated: 1 },
        'zerda-gateway-canary': { podLabels: { 'zerda.dev/track': 'canary' }, ready: 1 },
      },
    });
    await render({ ...route, ...canaryOf('gateway', { 'gateway.canary.weight': 10 }) }, { cluster });
  });

  it('can name the other version by digest', async () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const values = { 'order-service.image.digest': `sha256:${'b'.repeat(64)}` };
    const byDigest = await render({
      ...values,
      ...canaryOf('order-service', { 'order-service.canary.digest': digest }),
    });
    const byTag = await render({ ...values, ...canaryOf('order-service') });
    const imageIn = (rendered: typeof byTag): string =>
      rendered.get('Deployment', 'zerda-order-service-canary').spec.template.spec.containers[0].image;
    assert.match(imageIn(byDigest), new RegExp(`@${digest}$`));
    assert.match(imageIn(byTag), /:1\.3\.0$/);
  });

  for (const [values, message] of [
    [{ 'order-service.canary.replicas': 1 }, /canary\.replicas needs canary\.tag or canary\.digest/],
    [
      canaryOf('order-service', { 'order-service.canary.tag': 'latest' }),
      /canary\.tag=latest does not identify/,
    ],
    [canaryOf('order-service', { 'order-service.rollout.kind': 'Rollout' }), /two ways to start a canary/],
    [
      { ...route, ...canaryOf('gateway', { 'global.mesh.type': 'istio' }) },
      /canary\.replicas with httpRoute\.enabled is not possible in Istio/,
    ],
    [
      canaryOf('order-service', {
        'order-service.autoscaling.enabled': true,
        'order-service.autoscaling.memoryPercent': 80,
      }),
      /autoscaling\.memoryPercent/,
    ],
    [canaryOf('gateway', { 'gateway.canary.weight': 10 }), /canary\.weight needs httpRoute\.enabled/],
    [{ ...route, 'gateway.canary.weight': 10 }, /canary\.weight needs canary\.replicas/],
    [{ ...route, ...canaryOf('gateway', { 'gateway.canary.weight': 101 }) }, /weight/],
  ] as const)
    it(`rejects ${JSON.stringify(values)}`, async () => {
      await assert.rejects(render(values), message);
    });
});
