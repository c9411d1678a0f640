import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { forwardPort, type PortForward } from '../../scripts/lib/cluster.ts';
import { eventually } from '../system/lib/eventually.ts';
import { readInstallation } from './lib/installation.ts';
import { apply, get, kubectl, type Manifest } from './lib/kubectl.ts';

const { namespace, monitoring, release, prometheusImage } = readInstallation();

/** Reads each pod of the services as its annotations say. */
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
    const selector = `app.kubernetes.io/instance=${release},app.kubernetes.io/component=service`;
    pods = (await get(namespace, 'pods', '--selector', selector)).items;
    const metadata = { name: 'prometheus', namespace: monitoring };
    await apply(
      // Every JSON text is one of YAML too.
      {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata,
        data: { 'prometheus.yml': JSON.stringify(configurationFor(pods)) },
      },
      {
        ...{ apiVersion: 'v1', kind: 'Service', metadata },
        spec: { selector: { app: 'prometheus' }, ports: [{ port: 9090 }] },
      },
      {
        ...{ apiVersion: 'v1', kind: 'Pod' },
        metadata: { ...metadata, labels: { app: 'prometheus' } },
        spec: {
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 1,
          securityContext: {
            ...{ runAsNonRoot: true, runAsUser: 65534, runAsGroup: 65534, fsGroup: 65534 },
            seccompProfile: { type: 'RuntimeDefault' },
          },
          containers: [
            {
              ...{ name: 'prometheus', image: prometheusImage },
              args: ['--config.file=/etc/prometheus/prometheus.yml', '--storage.tsdb.path=/prometheus'],
              readinessProbe: { httpGet: { path: '/-/ready', port: 9090 }, periodSeconds: 1 },
              securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
              volumeMounts: [
                { name: 'configuration', mountPath: '/etc/prometheus' },
                { name: 'data', mountPath: '/prometheus' },
              ],
            },
          ],
          volumes: [
            { name: 'configuration', configMap: { name: 'prometheus' } },
            { name: 'data', emptyDir: {} },
          ],
        },
      },
    );
    await kubectl([
      'wait',
      'pod/prometheus',
      '--namespace',
      monitoring,
      '--for=condition=Ready',
      '--timeout=120s',
    ]);
    forward = await forwardPort(monitoring, 'prometheus', { local: 0, remote: 9090 });
  });

  after(() => forward?.stop());

  async function ask(path: string): Promise<Manifest> {
    const response = await fetch(`${forward.url}/api/v1/${path}`);
    assert.equal(response.status, 200);
    return ((await response.json()) as { data: Manifest }).data;
  }

  it('reads every pod of the services', async () => {
    const names = pods.map(({ metadata }) => metadata.name).sort();
    assert.equal(names.length, 6);
    await eventually(async () => {
      const { activeTargets } = await ask('targets?state=active');
      const up = activeTargets
        .filter(({ health }: Manifest) => health === 'up')
        .map(({ labels }: Manifest) => labels.pod);
      assert.deepEqual(
        up.sort(),
        names,
        JSON.stringify(activeTargets.map(({ lastError }: Manifest) => lastError)),
      );
    }, 60_000);
  });

  it('has the requests of each service, by route', async () => {
    await eventually(async () => {
      const query = 'sum by (app) (http_server_request_duration_seconds_count)';
      const { result } = await ask(`query?query=${encodeURIComponent(query)}`);
      const apps = result.map(({ metric }: Manifest) => metric.app).sort();
      assert.deepEqual(apps, ['gateway', 'order-service', 'user-service']);
    }, 30_000);
  });
});
