import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Kinds that the chart creates, by API version. */
const kinds: Readonly<Record<string, readonly string[]>> = {
  v1: ['Namespace', 'Secret', 'ConfigMap', 'Service', 'ServiceAccount', 'Pod'],
  'apps/v1': ['Deployment', 'StatefulSet'],
  'networking.k8s.io/v1': ['NetworkPolicy', 'Ingress'],
  'policy/v1': ['PodDisruptionBudget'],
  'autoscaling/v2': ['HorizontalPodAutoscaler'],
  'gateway.networking.k8s.io/v1': ['HTTPRoute'],
  'monitoring.coreos.com/v1': ['ServiceMonitor', 'PrometheusRule'],
  'traefik.io/v1alpha1': ['Middleware'],
  'argoproj.io/v1alpha1': ['AnalysisTemplate', 'Rollout'],
  'security.istio.io/v1': ['AuthorizationPolicy', 'PeerAuthentication'],
  'networking.istio.io/v1': ['DestinationRule', 'Sidecar', 'VirtualService'],
  'policy.linkerd.io/v1alpha1': ['AuthorizationPolicy', 'MeshTLSAuthentication', 'NetworkAuthentication'],
  'policy.linkerd.io/v1beta3': ['HTTPRoute', 'Server'],
};

/** Data of a Secret by key, not encoded. */
export type SecretData = Readonly<Record<string, string>>;

/** A Deployment that a render finds in the cluster. */
export interface ClusterDeployment {
  readonly podLabels?: Readonly<Record<string, string>>;
  /** Number of pods, which are all ready; default 0. */
  readonly ready?: number;
  /** Number of pods of the current template; default: all. */
  readonly updated?: number;
  /** Whether the controller has observed the last change; default true. */
  readonly observed?: boolean;
}

/** Objects that a render finds in the cluster. */
export interface ClusterContent {
  /** Secrets of the release `zerda`, in the namespace of the same name. */
  readonly secrets?: Readonly<Record<string, SecretData>>;
  /** Deployments in that namespace, by name. */
  readonly deployments?: Readonly<Record<string, ClusterDeployment>>;
  /** Whether that namespace exists; default true. */
  readonly namespace?: boolean;
}

/**
 * Starts a server with the part of the Kubernetes API that `helm template --dry-run=server` needs for `lookup`. Returns the Helm
 * arguments that connect to it. The server does not keep the process running.
 */
export async function serveCluster({
  secrets = {},
  deployments = {},
  namespace = true,
}: ClusterContent = {}): Promise<string[]> {
  const bodies = new Map<string, object>([
    ['/version', { major: '1', minor: '30', gitVersion: 'v1.30.0' }],
    ['/api', { kind: 'APIVersions', versions: ['v1'] }],
    ['/apis', { kind: 'APIGroupList', apiVersion: 'v1', groups: groups() }],
    ...Object.keys(kinds).map((version): [string, object] => [
      version.includes('/') ? `/apis/${version}` : `/api/${version}`,
      { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: version, resources: resources(version) },
    ]),
    ['/api/v1/namespaces/kube-system', object('Namespace', 'kube-system')],
    ...(namespace
      ? [
          [`${namespacePath}/configmaps/kube-root-ca.crt`, object('ConfigMap', 'kube-root-ca.crt')] as [
            string,
            object,
          ],
        ]
      : []),
    ...Object.entries(secrets).map(([name, data]): [string, object] => [
      `${namespacePath}/secrets/${name}`,
      secret(name, data),
    ]),
    ...Object.entries(deployments).map(([name, state]): [string, object] => [
      `/apis/apps/v1/namespaces/zerda/deployments/${name}`,
      deployment(name, state),
    ]),
  ]);
  const missing = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404 };
  const server = createServer(({ url = '' }, response) => {
    const body = bodies.get(url.split('?')[0] ?? '');
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body ?? missing));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.unref();
  const { port } = server.address() as AddressInfo;
  return [
    ...['--dry-run=server', '--disable-openapi-validation'],
    // Ignore the user's kubeconfig, which may name another cluster.
    ...['--kubeconfig', '/dev/null', '--kube-apiserver', `http://127.0.0.1:${port}`],
  ];
}

/** API path of the release's namespace. */
const namespacePath = '/api/v1/namespaces/zerda';

function object(kind: string, name: string): object {
  return { kind, apiVersion: 'v1', metadata: { name } };
}

function groups(): object[] {
  return Object.keys(kinds).flatMap((groupVersion) => {
    const [name, version] = groupVersion.split('/');
    if (version === undefined) return [];
    const preferredVersion = { groupVersion, version };
    return [{ name, versions: [preferredVersion], preferredVersion }];
  });
}

function resources(version: string): object[] {
  return (kinds[version] ?? []).map((kind) => ({
    name: kind.toLowerCase().replace(/y$/, 'ie').replace(/ss$/, 'sse').concat('s'),
    singularName: kind.toLowerCase(),
    namespaced: kind !== 'Namespace',
    kind,
    verbs: ['get', 'list', 'create', 'patch'],
  }));
}

function secret(name: string, data: SecretData): object {
  const encoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]);
  return {
    kind: 'Secret',
    apiVersion: 'v1',
    data: Object.fromEntries(encoded),
    metadata: ownedByRelease(name),
  };
}

function deployment(
  name: string,
  { podLabels = {}, ready = 0, updated = ready, observed = true }: ClusterDeployment,
): object {
  const generation = 2;
  return {
    kind: 'Deployment',
    apiVersion: 'apps/v1',
    metadata: { ...ownedByRelease(name), generation },
    spec: { replicas: ready, template: { metadata: { labels: podLabels } } },
    status: {
      replicas: ready,
      readyReplicas: ready,
      updatedReplicas: updated,
      observedGeneration: observed ? generation : generation - 1,
    },
  };
}

/** Returns the metadata of an object that Helm takes for one of the release. */
function ownedByRelease(name: string): object {
  return {
    name,
    namespace: 'zerda',
    labels: { 'app.kubernetes.io/managed-by': 'Helm' },
    annotations: { 'meta.helm.sh/release-name': 'zerda', 'meta.helm.sh/release-namespace': 'zerda' },
  };
}
