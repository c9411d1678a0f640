import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeWithHelm, type Manifest } from './lib/helm.ts';

const services = ['zerda-gateway', 'zerda-user-service', 'zerda-order-service'];
const endpoint = 'http://collector.observability:4318';

await describeWithHelm('tracing values', ({ render }) => {
  it('set the endpoint, the sampler and the pod for all services', async () => {
    const rendered = await render({
      'global.tracing.endpoint': endpoint,
      'global.tracing.ratio': 0.25,
      'global.tracing.headersSecret': 'collector-access',
    });
    for (const name of services) {
      const { data } = rendered.get('ConfigMap', name);
      assert.equal(data.OTEL_EXPORTER_OTLP_ENDPOINT, endpoint);
      assert.equal(data.OTEL_EXPORTER_OTLP_PROTOCOL, 'http/protobuf');
      assert.equal(data.OTEL_TRACES_SAMPLER, 'parentbased_traceidratio');
      assert.equal(data.OTEL_TRACES_SAMPLER_ARG, '0.25');
      const { env } = rendered.get('Deployment', name).spec.template.spec.containers[0];
      const names = env.map((variable: { name: string }) => variable.name);
      // Kubernetes expands only variables that come before.
      assert.ok(names.indexOf('K8S_POD_NAME') < names.indexOf('OTEL_RESOURCE_ATTRIBUTES'));
      const headers = env.find(
        (variable: { name: string }) => variable.name === 'OTEL_EXPORTER_OTLP_HEADERS',
      );
      assert.deepEqual(headers.valueFrom.secretKeyRef, { name: 'collector-access', key: 'headers' });
    }
  });

  it('open the network policies of the services for the collector only', async () => {
    const to = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'observability' } } }];
    const [without, with_] = await Promise.all([
      render(),
      render({ 'global.tracing.endpoint': endpoint, 'global.tracing.to': to }),
    ]);
    for (const name of services) {
      const before = without.get('NetworkPolicy', name).spec;
      const after = with_.get('NetworkPolicy', name).spec;
      assert.deepEqual(after.ingress, before.ingress);
      assert.deepEqual(
        after.egress.filter((rule: unknown) => !JSON.stringify(before.egress).includes(JSON.stringify(rule))),
        [{ ports: [{ port: 4318, protocol: 'TCP' }], to }],
      );
      assert.equal(after.egress.length, before.egress.length + 1);
    }
  });

  const toNamespace = (name: string) => [
    { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } },
  ];
  for (const [url, to] of [
    ['http://collector:4318', toNamespace('zerda')],
    [endpoint, toNamespace('observability')],
    ['https://collector.observability.svc:4318/base', toNamespace('observability')],
    ['http://collector.observability.svc.cluster.local', toNamespace('observability')],
    ['https://example.com:4318', undefined],
    ['http://otlp.example.com', undefined],
    ['http://192.0.2.7:4318', undefined],
    ['http://[2001:db8::7]:4318', undefined],
  ] as const) {
    it(`open the network policies for ${to?.[0]?.namespaceSelector.matchLabels['kubernetes.io/metadata.name'] ?? 'any address'} with the endpoint ${url}`, async () => {
      const { egress } = (await render({ 'global.tracing.endpoint': url })).get(
        'NetworkPolicy',
        'zerda-gateway',
      ).spec;
      const rule = egress.find(({ ports }: Manifest) => ports?.some(({ port }: Manifest) => port === 4318));
      assert.deepEqual(rule.to, to);
    });
  }

  it('change nothing without an endpoint', async () => {
    const rendered = await render({ 'global.tracing.ratio': 1 });
    for (const name of services) {
      assert.doesNotMatch(JSON.stringify(rendered.get('ConfigMap', name)), /OTEL/);
      assert.doesNotMatch(JSON.stringify(rendered.get('Deployment', name)), /OTEL/);
    }
  });

  it('reject invalid endpoints and ratios, and variables that the chart sets', async () => {
    for (const values of [
      { 'global.tracing.endpoint': 'collector:4318' },
      { 'global.tracing.ratio': 2 },
      { 'global.tracing.protocol': 'grpc' },
    ])
      await assert.rejects(render(values), /tracing/);
    await assert.rejects(
      render({ 'gateway.env.OTEL_TRACES_SAMPLER': 'always_on' }),
      /env\.OTEL_TRACES_SAMPLER is set by the chart/,
    );
  });
});
