import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { exitCodeOf } from '../../scripts/lib/child-process.ts';
import { buildAndDeliver, requireCommands, runQuietly } from '../../scripts/lib/cluster.ts';
import { onStopSignal, runCommand } from '../../scripts/lib/command.ts';
import { imageValues } from '../../scripts/lib/images.ts';
import { root } from '../../scripts/lib/services.ts';
import type { Installation } from './lib/installation.ts';
import { createNamespace, removeNamespaces } from './lib/own-release.ts';

/** What is put after a tag for the version that is upgraded to. */
const nextTag = '-next';

const identityFile = 'tests/e2e/identity.test.ts';
const eventsFile = 'tests/e2e/events.test.ts';
const faultsFile = 'tests/e2e/faults.test.ts';

/** Files whose clients set a pace: one after the other, and behind E2E_FAULTS_COMMAND. */
const underLoad = [identityFile, eventsFile, faultsFile];

/**
 * `npm run e2e -- [--keep] [--record] [events | faults | functions | files…]`: builds the images, installs the chart into a namespace that enforces
 * PodSecurity's `restricted`, runs the tests of this folder against it, and removes it. The cluster is that of kubectl's current
 * context. `events` kills NATS and who hears it, `faults` anything else, both under load and last; `functions` are all others. `--record`
 * writes the table of faults into docs/kubernetes.md.
 *
 * REGISTRY, BUILDER, NODE_IMAGE, RUNTIME_IMAGE: as for `npm run cluster:up`.
 * E2E_NAMESPACE: default `zerda-e2e`.
 * E2E_INGRESS: address of the ingress controller, default `localhost:80`.
 * E2E_GATEWAY: Gateway for the HTTPRoute as `namespace/name`, reached at that address too; without it that test is skipped.
 * E2E_PROMETHEUS_IMAGE: image of Prometheus, default that of Docker Hub.
 * E2E_RATE: requests a second while there are faults, default 200; a machine that is also the whole cluster may bear fewer.
 * E2E_FAULTS_COMMAND: command, split at spaces, that the tests of faults run behind: one that enters the cluster's network saves
 * what stands between it and this machine. E2E_FAULTS_INGRESS: address of the ingress controller there, default E2E_INGRESS.
 */
await runCommand(async () => {
  const words = process.argv.slice(2);
  const keep = words.includes('--keep');
  const record = words.includes('--record');
  const files = await chooseFiles(words.filter((word) => !word.startsWith('--')));
  const perSecond = Number(process.env.E2E_RATE || 200);
  if (!(perSecond > 0)) throw new StartupError('E2E_RATE is not a number above 0.', 78);
  await requireCommands('kubectl', 'helm', 'curl');
  const namespace = process.env.E2E_NAMESPACE || 'zerda-e2e';
  const monitoring = `${namespace}-monitoring`;

  const begunImages = performance.now();
  const images = await buildAndDeliver(process.env, [nextTag]);
  const imagesMs = performance.now() - begunImages;

  await removeNamespaces(namespace, monitoring);
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
      // Of this run alone: another one may be in the same cluster.
      ingressHost: `${namespace}.e2e.example`,
      routeHost: `route.${namespace}.e2e.example`,
      images: imageValues(images),
      nextImages: imageValues(next),
      faults: { perSecond, ingress: process.env.E2E_FAULTS_INGRESS || ingress, record },
    };
    const begunInstall = performance.now();
    await runQuietly(installCommand(installation));
    const installMs = performance.now() - begunInstall;
    console.log(
      `images built and delivered in ${seconds(imagesMs)}, installed and ready in ${seconds(installMs)}`,
    );
    return await runTests(installation, files);
  } finally {
    if (keep) console.log(`kept: namespaces ${namespace} and ${monitoring}`);
    else await removeNamespaces(namespace, monitoring);
  }
});

/** Files to run, those under load last: the faults leave pods behind that are about to end. */
async function chooseFiles(words: readonly string[]): Promise<string[]> {
  const [word] = words;
  if (word === 'events') return [eventsFile];
  if (word === 'faults') return [faultsFile];
  if (word !== undefined && word !== 'functions') return [...words];
  const functions = (await readdir(join(root, 'tests/e2e')))
    .filter((file) => file.endsWith('.test.ts'))
    .sort()
    .map((file) => `tests/e2e/${file}`)
    .filter((file) => !underLoad.includes(file));
  return word === 'functions' ? functions : [...functions, ...underLoad];
}

function installCommand(to: Installation): [string, ...string[]] {
  const [gatewayNamespace, gatewayName] = (to.gateway ?? '').split('/');
  const parentRefs = [{ name: gatewayName, namespace: gatewayNamespace }];
  const set = (path: string, value: unknown): string[] => ['--set-json', `${path}=${JSON.stringify(value)}`];
  return [
    ...(['helm', 'install', to.release, 'charts/zerda', '--namespace', to.namespace] as const),
    ...to.images,
    ...set('global.demoData', true),
    // The lines of the specification show no token; identity.test.ts has an installation that asks for one.
    ...set('global.auth.mode', 'off'),
    ...set('gateway.ingress.hosts', [to.ingressHost]),
    ...(to.gateway ? set('gateway.httpRoute', { enabled: true, parentRefs, hostnames: [to.routeHost] }) : []),
    ...['gateway', 'user-service', 'order-service'].flatMap((service) =>
      set(`${service}.networkPolicy.metricsFrom`, [
        { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': to.monitoring } } },
      ]),
    ),
    ...['--wait', '--timeout', '5m'],
  ];
}

async function runTests(installation: Installation, files: readonly string[]): Promise<number> {
  const loaded = files.filter((file) => underLoad.includes(file));
  const functions = files.filter((file) => !underLoad.includes(file));
  const behind = (process.env.E2E_FAULTS_COMMAND ?? '').split(' ').filter((word) => word !== '');
  const codes = [
    ...(functions.length > 0 ? [await runFiles(installation, functions, [])] : []),
    ...(loaded.length > 0 ? [await runFiles(installation, loaded, behind)] : []),
  ];
  return codes.find((code) => code !== 0) ?? 0;
}

async function runFiles(
  installation: Installation,
  files: readonly string[],
  behind: readonly string[],
): Promise<number> {
  const node = [
    ...[process.execPath, '--import', 'tsx', '--test', '--test-concurrency=1'],
    // Tells at the end, once more and together, what failed and why.
    ...['--test-reporter=spec', ...files],
  ];
  const [command = '', ...words] = [...behind, ...node];
  const child = spawn(command, words, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, E2E_INSTALLATION: JSON.stringify(installation) },
  });
  onStopSignal(() => child.kill('SIGTERM'));
  return exitCodeOf(child);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
