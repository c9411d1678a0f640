import { type ChildProcess, spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { captureOutput, exitCodeOf } from '../../scripts/lib/child-process.ts';
import { buildAndDeliver, requireCommands } from '../../scripts/lib/cluster.ts';
import { onStopSignal, runCommand } from '../../scripts/lib/command.ts';
import { imageValues } from '../../scripts/lib/images.ts';
import { root } from '../../scripts/lib/services.ts';
import { setDemo, setMetricsFrom, setValue } from './lib/helm-values.ts';
import type { Installation } from './lib/installation.ts';
import type { ObservabilityImages } from './lib/observability.ts';
import { deliverPreviousImages } from './lib/previous-images.ts';
import { createNamespace, deleteNamespaces } from './lib/test-release.ts';

/** Suffix of the image tag that the tests upgrade to. */
const nextTag = '-next';

/** Tests of faults, which also use the images of the previous release. */
const faultTests = 'tests/e2e/faults.test.ts';

/** Tests under load, which run one after another and with E2E_FAULTS_COMMAND. */
const underLoad = ['tests/e2e/identity.test.ts', 'tests/e2e/events.test.ts', faultTests];

/** Tests that need a controller in the cluster and use a release of their own. */
const withController = { mesh: 'tests/e2e/mesh.test.ts', canary: 'tests/e2e/canary.test.ts' } as const;

/**
 * `npm run e2e -- [--keep] [--record] [--mesh istio | canary | events | faults | functions | identity | file]…`: builds the images, installs
 * the chart in a namespace that enforces the PodSecurity level `restricted`, runs the tests of this folder and deletes the namespace. It uses
 * the cluster of kubectl's current context. `events` kills NATS and order-service under load, `identity` rotates keys and kills Valkey under
 * load, `faults` tests all other faults under load, and `functions` runs all other tests. `--mesh istio` runs only the tests in Istio, which
 * must be installed, and `canary` those of a canary, which need Argo Rollouts. `--keep` keeps the installation. `--record` writes the table
 * of faults to docs/kubernetes.md.
 *
 * REGISTRY, BUILDER, NODE_IMAGE, RUNTIME_IMAGE: as for `npm run cluster:up`.
 * E2E_NAMESPACE: default `zerda-e2e`.
 * E2E_INGRESS: address of the ingress controller, default `localhost:80`.
 * E2E_GATEWAY: Gateway for the HTTPRoute as `namespace/name`, at the same address; without it that test is skipped.
 * E2E_PROMETHEUS_IMAGE, E2E_ALERTMANAGER_IMAGE: images of Prometheus and Alertmanager, default those of Docker Hub.
 * E2E_COLLECTOR_IMAGE, E2E_VLAGENT_IMAGE, E2E_LOG_STORE_IMAGE, E2E_JAEGER_IMAGE: images for k8s/observability and
 * k8s/observability-vlagent, default those of the manifests.
 * E2E_OBSERVABILITY: `false` skips the tests of k8s/observability, for clusters that cannot pull its images. REQUIRE_OBSERVABILITY: with
 * the value 1 they fail then.
 * E2E_PREVIOUS: git revision that `faults` upgrades from, for services without a release; default: the last commit that is at least a day
 * older than the current one.
 * E2E_RATE: requests a second during the fault tests, default 200. Reduce it if the cluster runs on this machine.
 * E2E_FAULTS_COMMAND: prefix, split at spaces, of the command that runs the tests under load, for example one that enters the cluster's
 * network. REQUIRE_SKAFFOLD: with the value 1, the tests of skaffold fail where it is not on the PATH; otherwise they are skipped.
 * E2E_FAULTS_INGRESS: address of the ingress controller there, default E2E_INGRESS.
 */
await runCommand(async () => {
  const args = withMesh(process.argv.slice(2));
  const keep = args.includes('--keep');
  const record = args.includes('--record');
  const files = await chooseFiles(args.filter((arg) => !arg.startsWith('--')));
  const perSecond = Number(process.env.E2E_RATE || 200);
  if (!(perSecond > 0))
    throw new StartupError('E2E_RATE is not a positive number. Set it to a number of requests a second.', 78);
  await requireCommands('kubectl', 'helm', 'curl');
  const namespace = process.env.E2E_NAMESPACE || 'zerda-e2e';
  const monitoring = `${namespace}-monitoring`;

  const imagesStartedAt = performance.now();
  // First, because the tags of the last build remain.
  const previous = files.includes(faultTests)
    ? await deliverPreviousImages(process.env, process.env.E2E_PREVIOUS || undefined)
    : undefined;
  const images = await buildAndDeliver(process.env, { otherTags: [nextTag] });
  const imagesMs = performance.now() - imagesStartedAt;

  await deleteNamespaces(namespace, monitoring);
  try {
    for (const name of [namespace, monitoring]) await createNamespace(name);
    const next = new Map(
      [...images].map(([name, image]) => [name, { ...image, tag: `${image.tag}${nextTag}` }]),
    );
    const ingress = process.env.E2E_INGRESS || 'localhost:80';
    const installation: Installation = {
      namespace,
      monitoring,
      release: 'zerda',
      ingress,
      gateway: process.env.E2E_GATEWAY || undefined,
      prometheusImage: process.env.E2E_PROMETHEUS_IMAGE || 'docker.io/prom/prometheus:v3.5.0',
      alertmanagerImage: process.env.E2E_ALERTMANAGER_IMAGE || 'docker.io/prom/alertmanager:v0.28.1',
      observability: process.env.E2E_OBSERVABILITY === 'false' ? undefined : observabilityImages(process.env),
      // Unique per namespace, because another run may use the same cluster.
      ingressHost: `${namespace}.e2e.example`,
      routeHost: `route.${namespace}.e2e.example`,
      images: imageValues(images),
      nextImages: imageValues(next),
      previousImages: previous && imageValues(previous),
      faults: { perSecond, ingress: process.env.E2E_FAULTS_INGRESS || ingress, record },
    };
    console.log(`images built and delivered in ${seconds(imagesMs)}`);
    if (files.some((file) => !Object.values<string>(withController).includes(file))) {
      const installStartedAt = performance.now();
      await captureOutput(installCommand(installation));
      console.log(`installed and ready in ${seconds(performance.now() - installStartedAt)}`);
    }
    return await runTests(installation, files);
  } finally {
    if (keep) console.log(`keeping the namespaces ${namespace} and ${monitoring}`);
    else await deleteNamespaces(namespace, monitoring);
  }
});

function observabilityImages(env: NodeJS.ProcessEnv): ObservabilityImages {
  return {
    collector: env.E2E_COLLECTOR_IMAGE || undefined,
    vlagent: env.E2E_VLAGENT_IMAGE || undefined,
    logStore: env.E2E_LOG_STORE_IMAGE || undefined,
    jaeger: env.E2E_JAEGER_IMAGE || undefined,
  };
}

/** Returns the arguments with the file of the tests in a mesh instead of `--mesh istio`. @throws StartupError (78) for another mesh */
function withMesh(args: readonly string[]): string[] {
  const index = args.indexOf('--mesh');
  if (index === -1) return [...args];
  if (args[index + 1] !== 'istio')
    throw new StartupError('--mesh needs the name of a mesh whose tests exist: istio.', 78);
  return args.toSpliced(index, 2, withController.mesh);
}

/** Returns the files to run. Those under load come last, because they leave terminating pods behind. */
async function chooseFiles(args: readonly string[]): Promise<string[]> {
  const functions = (await readdir(join(root, 'tests/e2e')))
    .filter((file) => file.endsWith('.test.ts'))
    .sort()
    .map((file) => `tests/e2e/${file}`)
    .filter((file) => ![...underLoad, ...Object.values<string>(withController)].includes(file));
  const named = new Map<string, readonly string[]>([
    ['functions', functions],
    ['canary', [withController.canary]],
    ...underLoad.map((file) => [basename(file, '.test.ts'), [file]] as const),
  ]);
  const chosen = args.length === 0 ? [...named.keys()].filter((name) => name !== 'canary') : args;
  return chosen.flatMap((arg) => named.get(arg) ?? [arg]);
}

function installCommand(installation: Installation): [string, ...string[]] {
  const [gatewayNamespace, gatewayName] = (installation.gateway ?? '').split('/');
  const parentRefs = [{ name: gatewayName, namespace: gatewayNamespace }];
  return [
    ...([
      'helm',
      'install',
      installation.release,
      'charts/zerda',
      '--namespace',
      installation.namespace,
    ] as const),
    // The commands of the specification send no token; identity.test.ts tests authentication.
    ...setDemo(installation.images),
    ...setValue('gateway.ingress.hosts', [installation.ingressHost]),
    ...(installation.gateway
      ? setValue('gateway.httpRoute', { enabled: true, parentRefs, hostnames: [installation.routeHost] })
      : []),
    ...setMetricsFrom(installation.monitoring),
    ...['--wait', '--timeout', '5m'],
  ];
}

async function runTests(installation: Installation, files: readonly string[]): Promise<number> {
  const loadTests = files.filter((file) => underLoad.includes(file));
  const functions = files.filter((file) => !underLoad.includes(file));
  const prefix = (process.env.E2E_FAULTS_COMMAND ?? '').split(' ').filter((part) => part !== '');
  let stopped = false;
  let stopChild = (): unknown => undefined;
  onStopSignal(() => {
    stopped = true;
    stopChild();
  });
  const run = async (group: readonly string[], options: RunOptions): Promise<number> => {
    if (group.length === 0 || stopped) return 0;
    const child = startFiles(installation, group, options);
    stopChild = () => child.kill('SIGTERM');
    return exitCodeOf(child);
  };
  // Functions mostly wait for pods in namespaces of their own. Two cores, which may also run the cluster, are too few for two at a time.
  const functionsCode = await run(functions, { concurrency: availableParallelism() > 2 ? 2 : 1 });
  const loadCode = await run(loadTests, { concurrency: 1, prefix });
  return functionsCode || loadCode;
}

interface RunOptions {
  /** Number of files that run at the same time. */
  readonly concurrency: number;
  /** Command that runs the tests, if they need one. */
  readonly prefix?: readonly string[];
}

function startFiles(
  installation: Installation,
  files: readonly string[],
  { concurrency, prefix = [] }: RunOptions,
): ChildProcess {
  const node = [
    ...[process.execPath, '--import', 'tsx', '--test', `--test-concurrency=${concurrency}`],
    // Repeats all failures at the end.
    ...['--test-reporter=spec', ...files],
  ];
  const [command = '', ...args] = [...prefix, ...node];
  return spawn(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, E2E_INSTALLATION: JSON.stringify(installation) },
  });
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
