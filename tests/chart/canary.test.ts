import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeWithHelm, type Manifest } from './lib/helm.ts';

const name = 'zerda-order-service';

await describeWithHelm('canary with Argo Rollouts', ({ render }) => {
  const renderWith = (values: Record<string, unknown> = {}) =>
    render({
      'order-service.rollout.kind': 'Rollout',
      ...Object.fromEntries(Object.entries(values).map(([path, value]) => [`order-service.${path}`, value])),
    });
  const analysis = { 'rollout.canary.analysis.prometheus': 'http://prometheus.monitoring:9090' };

  it('is not used by default', async () => {
    const rendered = await render();
    assert.deepEqual(rendered.names('Rollout'), []);
    assert.equal(rendered.get('Deployment', name).spec.replicas, 2);
  });

  it('runs the pods of the Deployment, which has none itself, and concerns only its service', async () => {
    const rendered = await renderWith();
    const { replicas, workloadRef, minReadySeconds, strategy } = rendered.get('Rollout', name).spec;
    assert.deepEqual([replicas, minReadySeconds], [2, 2]);
    assert.deepEqual(workloadRef, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name,
      scaleDown: 'onsuccess',
    });
    assert.deepEqual([strategy.canary.maxSurge, strategy.canary.maxUnavailable], [1, 0]);
    assert.equal('analysis' in strategy.canary, false);
    assert.equal(rendered.get('Deployment', name).spec.replicas, 0);
    assert.deepEqual(rendered.names('Rollout'), [name]);
    assert.equal(rendered.get('Deployment', 'zerda-gateway').spec.replicas, 2);
  });

  it('takes its steps from the values', async () => {
    const steps = [{ setWeight: 20 }, { pause: {} }];
    const rendered = await renderWith({ 'rollout.canary.steps': steps });
    assert.deepEqual(rendered.get('Rollout', name).spec.strategy.canary.steps, steps);
  });

  it('is scaled by the autoscaler', async () => {
    const rendered = await renderWith({ 'autoscaling.enabled': true });
    assert.deepEqual(rendered.get('HorizontalPodAutoscaler', name).spec.scaleTargetRef, {
      apiVersion: 'argoproj.io/v1alpha1',
      kind: 'Rollout',
      name,
    });
    assert.equal('replicas' in rendered.get('Rollout', name).spec, false);
  });

  it('is rejected with an analysis if the names of its pods would be shortened', async () => {
    const release = 'a-release-with-a-long-name-of-35-chars';
    const values = { 'order-service.rollout.kind': 'Rollout' };
    await render(values, { release });
    await assert.rejects(
      render(
        { ...values, 'order-service.rollout.canary.analysis.prometheus': 'http://prometheus' },
        { release },
      ),
      /at most 46 characters/,
    );
  });

  it('measures server errors and latency of the new pods only', async () => {
    const rendered = await renderWith({ ...analysis, 'rollout.canary.analysis.maxErrorPercent': 2.5 });
    assert.deepEqual(rendered.get('Rollout', name).spec.strategy.canary.analysis, {
      startingStep: 1,
      templates: [{ templateName: name }],
      args: [{ name: 'pods', valueFrom: { podTemplateHashValue: 'Latest' } }],
    });
    const { args, metrics } = rendered.get('AnalysisTemplate', name).spec;
    assert.deepEqual(args, [{ name: 'pods' }]);
    assert.deepEqual(
      metrics.map((metric: Manifest) => [metric.name, metric.failureLimit, metric.successCondition]),
      [
        ['measured-pods', 1, 'len(result) > 0 && result[0] > 0'],
        ['server-errors', 1, 'len(result) == 0 || isNaN(result[0]) || result[0] <= 0.025'],
        ['latency', 1, 'len(result) == 0 || isNaN(result[0]) || result[0] <= 0.5'],
      ],
    );
    for (const { provider } of metrics) {
      assert.equal(provider.prometheus.address, 'http://prometheus.monitoring:9090');
      const selectors = provider.prometheus.query.match(/\{namespace[^[]*\}/g);
      for (const selector of selectors)
        assert.ok(
          selector.startsWith(`{namespace="zerda",pod=~"${name}-{{args.pods}}-.*"`),
          provider.prometheus.query,
        );
    }
  });
});
