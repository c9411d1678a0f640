import { forwardPort, type PortForward } from '../../../scripts/lib/cluster.ts';
import { apply, kubectl } from './kubectl.ts';

export interface MonitoringPod {
  readonly name: string;
  readonly namespace: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly port: number;
  /** Files in /etc/monitoring. */
  readonly files: Readonly<Record<string, string>>;
}

/** Starts a program of Prometheus in a pod behind a Service of the same name, waits until it is ready and forwards its port. */
export async function startMonitoringPod({
  name,
  namespace,
  image,
  args,
  port,
  files,
}: MonitoringPod): Promise<PortForward> {
  const metadata = { name, namespace };
  await apply(
    { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: files },
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { selector: { app: name }, ports: [{ port }] } },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, labels: { app: name } },
      spec: {
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 1,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 65534,
          runAsGroup: 65534,
          fsGroup: 65534,
          seccompProfile: { type: 'RuntimeDefault' },
        },
        containers: [
          {
            name,
            image,
            args,
            readinessProbe: { httpGet: { path: '/-/ready', port }, periodSeconds: 1 },
            securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
            volumeMounts: [
              { name: 'configuration', mountPath: '/etc/monitoring' },
              { name: 'data', mountPath: '/data' },
            ],
          },
        ],
        volumes: [
          { name: 'configuration', configMap: { name } },
          { name: 'data', emptyDir: {} },
        ],
      },
    },
  );
  await kubectl(['wait', `pod/${name}`, '--namespace', namespace, '--for=condition=Ready', '--timeout=120s']);
  return forwardPort(namespace, name, { local: 0, remote: port });
}
