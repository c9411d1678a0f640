import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import type { PortForward } from '../../scripts/lib/cluster.ts';
import { podSelector } from '../../scripts/lib/pods.ts';
import { readInstallation } from './lib/installation.ts';
import { get, type Manifest } from './lib/kubectl.ts';
import { startMonitoringPod } from './lib/monitoring-pod.ts';

const { namespace, monitoring, release, prometheusImage } = readInstallation();

/** Returns a Prometheus configuration that scrapes each pod as its annotations specify. */
function configurationFor(pods: readonly Manifest[]): Manifest {
  return {
    global: { scrape_interval: '2s', scrape_timeout: '2s' },
    scrape_configs: pods.map(({ metadata, status }) => {
      const { annotations, labels, name } = metadata;
      assert.equal(annotations['prometheus.io/scrape'], 'true', name);
      return {
        job_name: name,
        metrics_path: annotations['prometheus.io/path'],
        static_configs: [
          {
            targets: [`${status.podIP}:${annotations['prometheus.io/port']}`],
            labels: { pod: name, app: labels['app.kubernetes.io/name'] },
          },
        ],
      };
    }),
  };
}

describe('Prometheus', () => {
  let forward: PortForward;
  let pods: Manifest[];

  before(async () => {
    const selector = podSelector(release);
    pods = (await get(namespace, 'pods', '--selector', selector)).items;
    forward = await startMonitoringPod({
      name: 'prometheus',
      namespace: monitoring,
      image: prometheusImage,
      args: ['--config.file=/etc/monitoring/prometheus.yml', '--storage.tsdb.path=/data'],
      port: 9090,
      // JSON is valid YAML.
      files: { 'prometheus.yml': JSON.stringify(configurationFor(pods)) },
    });
  });

  after(() => forward?.stop());

  async function queryApi(path: string): Promise<Manifest> {
    const { status, body } = await sendRequest(`${forward.url}/api/v1/${path}`);
    assert.equal(status, 200);
    return body.data;
  }

  it('scrapes every pod of the services', async () => {
    const names = pods.map(({ metadata }) => metadata.name).sort();
    assert.equal(names.length, 6);
    await eventually(
      async () => {
        const { activeTargets } = await queryApi('targets?state=active');
        const up = activeTargets
          .filter(({ health }: Manifest) => health === 'up')
          .map(({ labels }: Manifest) => labels.pod);
        assert.deepEqual(
          up.sort(),
          names,
          JSON.stringify(activeTargets.map(({ lastError }: Manifest) => lastError)),
        );
      },
      'a healthy target for each pod',
      60_000,
    );
  });

  it('has the request metrics of each service', async () => {
    await eventually(
      async () => {
        const query = 'sum by (app) (http_server_request_duration_seconds_count)';
        const { result } = await queryApi(`query?query=${encodeURIComponent(query)}`);
        const apps = result.map(({ metric }: Manifest) => metric.app).sort();
        assert.deepEqual(apps, ['gateway', 'order-service', 'user-service']);
      },
      'request metrics of each service',
      30_000,
    );
  });
});
