import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { stringify } from 'yaml';
import { forwardPort, type PortForward } from '../../../scripts/lib/cluster.ts';
import { root } from '../../../scripts/lib/services.ts';
import { kubectl } from './kubectl.ts';
import { deleteNamespaces, forceDeleteNamespace } from './test-release.ts';

/** Images of the programs in k8s/observability and k8s/observability-vlagent; undefined for those of the manifests. */
export interface ObservabilityImages {
  readonly vlagent: string | undefined;
  readonly collector: string | undefined;
  readonly logStore: string | undefined;
  readonly jaeger: string | undefined;
}

/** Folders of k8s with the DaemonSet that collects the logs. */
const variants = {
  observability: 'collector',
  'observability-vlagent': 'vlagent',
} as const;

export interface ObservabilityOptions {
  /** Folder of k8s. */
  readonly variant: keyof typeof variants;
  /** Namespace that is created for it. */
  readonly namespace: string;
  /** Namespace of the release whose logs are collected and whose services may send spans. */
  readonly watched: string;
  readonly images: ObservabilityImages;
}

/** An installation of a variant. */
export interface Observability {
  readonly logsUrl: string;
  readonly tracesUrl: string;
  /** Scales the log store to a number of pods and waits until it has them. */
  scaleLogStore(replicas: 0 | 1): Promise<void>;
  remove(): Promise<void>;
}

/** Installs a variant by an overlay, waits until it is ready and forwards the ports of both stores. */
export async function installObservability(options: ObservabilityOptions): Promise<Observability> {
  const { namespace, variant } = options;
  await deleteNamespaces(namespace);
  const folder = await mkdtemp(join(tmpdir(), 'zerda-overlay-'));
  const inNamespace = ['--namespace', namespace, '--timeout=180s'];
  const rolledOut = (workload: string) => kubectl(['rollout', 'status', workload, ...inNamespace]);
  let logs: PortForward | undefined;
  let traces: PortForward | undefined;

  const forwardLogs = async (): Promise<PortForward> => {
    logs = await forwardPort(namespace, 'victoria-logs', { local: 0, remote: 9428 });
    return logs;
  };
  async function remove(): Promise<void> {
    await Promise.all([logs?.stop(), traces?.stop()]);
    await kubectl(['delete', 'clusterrole,clusterrolebinding', namespace, '--ignore-not-found']);
    await forceDeleteNamespace(namespace);
  }
  try {
    await writeFile(join(folder, 'kustomization.yaml'), stringify(overlayOf(folder, options)));
    await kubectl(['apply', '--kustomize', folder]);
    for (const workload of [
      `daemonset/${variants[variant]}`,
      'statefulset/victoria-logs',
      'deployment/jaeger',
    ])
      await rolledOut(workload);
    traces = await forwardPort(namespace, 'jaeger', { local: 0, remote: 16686 });
    let { url: logsUrl } = await forwardLogs();
    return {
      get logsUrl() {
        return logsUrl;
      },
      tracesUrl: traces.url,
      async scaleLogStore(replicas) {
        // The forward ends with the pod.
        await logs?.stop();
        await kubectl(['scale', 'statefulset/victoria-logs', `--replicas=${replicas}`, ...inNamespace]);
        if (replicas === 0) await kubectl(['wait', 'pod/victoria-logs-0', '--for=delete', ...inNamespace]);
        else {
          await rolledOut('statefulset/victoria-logs');
          logsUrl = (await forwardLogs()).url;
        }
      },
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function overlayOf(folder: string, { namespace, watched, images, variant }: ObservabilityOptions): unknown {
  const collector = variants[variant];
  const patch = (kind: string, name: string, content: object) => ({
    target: { kind, name },
    patch: stringify({ kind, metadata: { name }, ...content }),
  });
  const image = (name: string, ref: string | undefined, container: object = {}, pod: object = {}) => ({
    spec: {
      template: { spec: { containers: [{ name, ...(ref && { image: ref }), ...container }], ...pod } },
    },
  });
  const env = [{ name: 'LOGS_NAMESPACE', value: watched }];
  const namespacePath = '/spec/ingress/0/from/0/namespaceSelector/matchLabels/kubernetes.io~1metadata.name';
  return {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    namespace,
    resources: [relative(folder, join(root, 'k8s', variant))],
    patches: [
      patch(
        'DaemonSet',
        collector,
        image(
          collector,
          images[collector],
          { env },
          // The folder of the node would stay behind.
          collector === 'vlagent' ? { volumes: [{ name: 'data', hostPath: null, emptyDir: {} }] } : {},
        ),
      ),
      patch('StatefulSet', 'victoria-logs', image('victoria-logs', images.logStore)),
      patch('Deployment', 'jaeger', image('jaeger', images.jaeger)),
      {
        target: { kind: 'NetworkPolicy', name: 'collector' },
        patch: stringify([{ op: 'replace', path: namespacePath, value: watched }]),
      },
      ...(collector === 'vlagent' ? ['ClusterRole', 'ClusterRoleBinding'] : []).map((kind) => ({
        // Another installation may use the cluster.
        target: { kind },
        options: { allowNameChange: true },
        patch: stringify([
          { op: 'replace', path: '/metadata/name', value: namespace },
          ...(kind === 'ClusterRoleBinding'
            ? [
                { op: 'replace', path: '/roleRef/name', value: namespace },
                { op: 'replace', path: '/subjects/0/namespace', value: namespace },
              ]
            : []),
        ]),
      })),
    ],
  };
}
