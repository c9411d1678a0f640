import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import type { PortForward } from '../../scripts/lib/cluster.ts';
import { type Clients, startClients } from '../clients/clients.ts';
import { describeFailures, formatFault } from '../clients/fault-table.ts';
import { setDemo, setMetricsFrom, setValue } from './lib/helm-values.ts';
import { readInstallation } from './lib/installation.ts';
import { get, kubectl, type Manifest } from './lib/kubectl.ts';
import { startMonitoringPod } from './lib/monitoring-pod.ts';
import { podsOf, waitForRollouts } from './lib/rollouts.ts';
import { installRelease, type TestRelease } from './lib/test-release.ts';

const installation = readInstallation();
const { monitoring, ingress, faults } = installation;
const namespace = `${installation.namespace}-canary`;
const hostName = `${namespace}.e2e.example`;
const deployment = 'zerda-order-service';
const prometheusName = 'canary-prometheus';

/** A module that has one response of twenty be a server error. */
const withErrors = `import { ServerResponse } from 'node:http';
let responses = 0;
const { writeHead } = ServerResponse.prototype;
ServerResponse.prototype.writeHead = function (status, ...rest) {
  const path = this.req?.url ?? '';
  if (path.startsWith('/api/') && (responses += 1) % 20 === 0) {
    this.statusCode = 500;
    return writeHead.call(this, 500);
  }
  return writeHead.call(this, status, ...rest);
};`;

/** Reads the pods of a file, because not every Prometheus is built with the discovery of Kubernetes. */
const scrapeConfiguration = {
  global: { scrape_interval: '2s', scrape_timeout: '2s' },
  scrape_configs: [
    { job_name: 'pods', file_sd_configs: [{ files: ['/data/pods.json'], refresh_interval: '1s' }] },
  ],
};

/** Writes the pods of order-service and their labels to that file. */
async function writeTargets(): Promise<void> {
  const selector = 'app.kubernetes.io/name=order-service,app.kubernetes.io/component=service';
  const { items } = await get(namespace, 'pods', '--selector', selector);
  const targets = items
    .filter(({ status }: Manifest) => status.podIP !== undefined)
    .map(({ metadata, status }: Manifest) => ({
      targets: [`${status.podIP}:9090`],
      labels: { namespace, pod: metadata.name },
    }));
  const write = 'cat > /data/pods.new && mv /data/pods.new /data/pods.json';
  await kubectl(
    ['exec', prometheusName, '--stdin', '--namespace', monitoring, '--', 'sh', '-c', write],
    JSON.stringify(targets),
  );
}

describe('a canary of order-service', { concurrency: 1 }, () => {
  let testRelease: TestRelease;
  let prometheus: PortForward | undefined;
  let clients: Clients | undefined;
  let discovery: Promise<void> | undefined;
  let ended = false;

  before(async () => {
    await kubectl(['get', 'customresourcedefinition', 'rollouts.argoproj.io']).catch(() => {
      throw new Error('Argo Rollouts is not installed in the cluster. Install it, or run .ci/mesh.');
    });
    testRelease = await installRelease({
      namespace,
      release: 'zerda',
      options: [
        ...setDemo(installation.images),
        ...setValue('gateway.ingress.hosts', [hostName]),
        ...setMetricsFrom(monitoring),
        // Helm 4 does not know the state of a Rollout and would wait until its timeout.
        '--wait=hookOnly',
        ...setValue('order-service.replicas', 3),
        ...setValue('order-service.shutdown', { preStopSeconds: 2, drainSeconds: 5, deadlineSeconds: 5 }),
        ...setValue('order-service.rollout.kind', 'Rollout'),
        ...setValue('order-service.rollout.canary', {
          steps: [{ setWeight: 25 }, { pause: { duration: '40s' } }],
          analysis: {
            prometheus: `http://${prometheusName}.${monitoring}:9090`,
            interval: '5s',
            period: '20s',
            maxLatencySeconds: 10,
          },
        }),
      ],
    });
    await waitForRollouts(namespace);
    prometheus = await startMonitoringPod({
      name: prometheusName,
      namespace: monitoring,
      image: installation.prometheusImage,
      args: ['--config.file=/etc/monitoring/prometheus.yml', '--storage.tsdb.path=/data'],
      port: 9090,
      files: { 'prometheus.yml': JSON.stringify(scrapeConfiguration) },
    });
    discovery = discoverPods();
    await untilPhase('Healthy');
    clients = startClients({ address: ingress, hostName, perSecond: Math.min(40, faults.perSecond) });
    await wait(10_000);
  });

  after(async () => {
    await clients?.stop();
    ended = true;
    await discovery;
    await prometheus?.stop();
    await kubectl([
      'delete',
      'pod,service,configmap',
      prometheusName,
      '--namespace',
      monitoring,
      '--ignore-not-found',
    ]);
    await testRelease?.remove();
  });

  it('has the pods of the Rollout serve, and none of the Deployment', async () => {
    assert.equal((await get(namespace, 'deployment', deployment)).spec.replicas, 0);
    const { status } = await get(namespace, 'rollout', deployment);
    assert.equal(status.availableReplicas, 3);
  });

  it('goes to all pods if the new version works, without a failed request', async (t) => {
    const before = await stableHash();
    const window = open('a canary that works');
    await upgrade(...setValue('order-service.env', { LOG_LEVEL: 'warn' }));
    const share = await eventually(async () => {
      const { status } = await get(namespace, 'rollout', deployment);
      assert.notEqual(status.currentPodHash, before);
      const requests = await requestsByPod('[15s]');
      const total = [...requests.values()].reduce((sum, count) => sum + count, 0);
      const canary = [...requests].filter(([pod]) => pod.includes(status.currentPodHash));
      const ratio = canary.reduce((sum, [, count]) => sum + count, 0) / total;
      assert.ok(ratio > 0.2 && ratio < 0.3, `${(100 * ratio).toFixed(1)} % of ${total} requests`);
      return ratio;
    }, 'a quarter of the requests at one of four pods');
    t.diagnostic(`${(100 * share).toFixed(1)} % of the requests reached the canary, one of four pods`);
    await eventually(
      async () => assert.notEqual(await stableHash(), before),
      'a new stable version',
      240_000,
    );
    await untilPhase('Healthy');
    const result = await window.close();
    t.diagnostic(formatFault(result));
    assert.equal(result.failed.length, 0, describeFailures(result));
  });

  it('is aborted if the new version returns errors, and only its share of the requests sees them', async (t) => {
    const before = await stableHash();
    const window = open('a canary with 5 % errors');
    await upgrade(
      ...setValue('order-service.nodeArgs', [
        '--import',
        `data:text/javascript,${encodeURIComponent(withErrors)}`,
      ]),
    );
    await untilPhase('Degraded');
    const { status } = await get(namespace, 'rollout', deployment);
    assert.equal(status.abort, true);
    assert.equal(status.stableRS, before);
    assert.match(status.message, /server-errors/);
    await eventually(
      async () => {
        const pods = await podsOf(namespace, 'zerda', 'order-service');
        assert.ok(pods.length > 0 && pods.every((pod) => pod.includes(before)), pods.join());
      },
      'the end of the new pods',
      120_000,
    );
    const result = await window.close();
    t.diagnostic(formatFault(result));
    const { outcomes, failed } = result;
    assert.ok(failed.length > 0, 'no request reached the canary');
    // One of four pods returns 5 % errors, as long as two measurements take.
    assert.ok(failed.length / outcomes.length < 0.0125, describeFailures(result));
    const withError = await requestsByPod('[5m]', ',http_response_status_code="500"');
    for (const [pod, count] of withError)
      assert.ok(count === 0 || pod.includes(status.currentPodHash), `${count} errors of ${pod}`);
  });

  async function upgrade(...options: readonly string[]): Promise<void> {
    await testRelease.upgrade(['--reuse-values', '--wait=hookOnly', ...options]);
  }

  /** Returns the number of API requests in a period, by pod of order-service. */
  async function requestsByPod(period: string, labels = ''): Promise<Map<string, number>> {
    const series = `http_server_request_duration_seconds_count{pod=~"${deployment}-.*"${labels}}`;
    const query = encodeURIComponent(`sum by (pod) (increase(${series}${period}))`);
    const { body } = await sendRequest(`${prometheus?.url}/api/v1/query?query=${query}`);
    return new Map(
      body.data.result.map(({ metric, value }: Manifest): [string, number] => [metric.pod, Number(value[1])]),
    );
  }

  async function discoverPods(): Promise<void> {
    while (!ended) {
      await writeTargets();
      await wait(1000);
    }
  }

  function open(title: string): ReturnType<Clients['open']> {
    if (clients === undefined) throw new Error('the clients have not started');
    return clients.open(title);
  }

  async function stableHash(): Promise<string> {
    return (await get(namespace, 'rollout', deployment)).status.stableRS;
  }

  async function untilPhase(phase: string): Promise<void> {
    await eventually(
      async () => {
        const { status, metadata } = await get(namespace, 'rollout', deployment);
        assert.equal(Number(status?.observedGeneration), metadata.generation);
        assert.equal(status.phase, phase, status.message);
      },
      `a Rollout in the phase ${phase}`,
      240_000,
    );
  }
});
