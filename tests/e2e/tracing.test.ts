import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { forwardPort } from '../../scripts/lib/cluster.ts';
import { services } from '../../scripts/lib/services.ts';
import { setValue } from './lib/helm-values.ts';
import { readInstallation } from './lib/installation.ts';
import { findReachable, imageOf } from './lib/probe.ts';
import { type SpanCollector, spanEndpoint, startSpanCollector } from './lib/span-collector.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const installation = readInstallation();
const namespace = `${installation.namespace}-tracing`;
const { monitoring } = installation;
const collectorName = 'traced-collector';

describe('tracing on a cluster with network policies', () => {
  let testRelease: TestRelease;
  let image: string;
  let collector: SpanCollector;
  /** A pod of the same namespace on the same port, to which no policy allows egress. */
  let neighbor: SpanCollector;

  before(async () => {
    const to = [
      {
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': monitoring } },
        podSelector: { matchLabels: { app: collectorName } },
      },
    ];
    testRelease = await installRelease({
      namespace,
      release: 'zerda',
      options: [
        ...installation.images,
        ...setValue('global.auth.mode', 'off'),
        ...setValue('global.tracing.endpoint', spanEndpoint({ name: collectorName, namespace: monitoring })),
        ...setValue('global.tracing.protocol', 'http/json'),
        ...setValue('global.tracing.ratio', 1),
        ...setValue('global.tracing.to', to),
        ...services.flatMap(({ name }) => setValue(`${name}.replicas`, 1)),
      ],
    });
    image = await imageOf(namespace, 'zerda-gateway');
    const start = (name: string) => startSpanCollector({ name, namespace: monitoring, image });
    [collector, neighbor] = await Promise.all([start(collectorName), start('untraced-neighbor')]);
  });

  after(async () => {
    await Promise.all([collector?.stop(), neighbor?.stop()]);
    await testRelease?.remove();
  });

  it('exports the spans of all services', async () => {
    const forward = await forwardPort(namespace, 'zerda-gateway', { local: 0, remote: 8000 });
    try {
      await eventually(
        async () => {
          await sendRequest(`${forward.url}/api/dashboard`);
          assert.deepEqual((await collector.services()).sort(), services.map(({ name }) => name).sort());
        },
        'spans of all services',
        60_000,
      );
    } finally {
      await forward.stop();
    }
  });

  it('opens the policies of the services for the collector only', async () => {
    const addresses = await Promise.all([collector.address(), neighbor.address()]);
    const reachable = await Promise.all(
      services.map(({ name }) =>
        findReachable(image, addresses, {
          namespace,
          labels: {
            'app.kubernetes.io/name': name,
            'app.kubernetes.io/instance': 'zerda',
            'app.kubernetes.io/component': 'service',
          },
        }),
      ),
    );
    for (const found of reachable) assert.deepEqual(found, [addresses[0]]);
  });

  it('opens no policy of the databases', async () => {
    const labels = {
      'app.kubernetes.io/name': 'order-service',
      'app.kubernetes.io/instance': 'zerda',
      'app.kubernetes.io/component': 'database',
    };
    assert.deepEqual(await findReachable(image, [await collector.address()], { namespace, labels }), []);
  });
});
