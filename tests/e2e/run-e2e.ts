import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { buildAndDeliver, requireCommands, runQuietly } from '../../scripts/lib/cluster.ts';
import { onStopSignal, runCommand } from '../../scripts/lib/command.ts';
import { imageValues } from '../../scripts/lib/images.ts';
import { root } from '../../scripts/lib/services.ts';
import type { Installation } from './lib/installation.ts';

/**
 * `npm run e2e -- [--keep] [files…]`: builds the images, installs the chart into a namespace that enforces PodSecurity's
 * `restricted`, runs the tests of this folder against it, and removes it. The cluster is that of kubectl's current context.
 *
 * REGISTRY, BUILDER, NODE_IMAGE, RUNTIME_IMAGE: as for `npm run cluster:up`.
 * E2E_NAMESPACE: default `zerda-e2e`.
 * E2E_INGRESS: address of the ingress controller, default `localhost:80`.
 * E2E_GATEWAY: Gateway for the HTTPRoute as `namespace/name`, reached at that address too; without it that test is skipped.
 * E2E_PROMETHEUS_IMAGE: image of Prometheus, default that of Docker Hub.
 */
await runCommand(async () => {
  const words = process.argv.slice(2);
  const keep = words.includes('--keep');
  const files = words.filter((word) => !word.startsWith('--'));
  await requireCommands('kubectl', 'helm', 'curl');
  const namespace = process.env.E2E_NAMESPACE || 'zerda-e2e';
  const monitoring = `${namespace}-monitoring`;

  const begunImages = performance.now();
  const images = await buildAndDeliver(process.env);
  const imagesMs = performance.now() - begunImages;

  await removeNamespaces(namespace, monitoring);
  try {
    for (const name of [namespace, monitoring]) {
      await runQuietly(['kubectl', 'create', 'namespace', name]);
      await runQuietly([
        ...(['kubectl', 'label', 'namespace', name] as const),
        ...['enforce', 'warn'].map((mode) => `pod-security.kubernetes.io/${mode}=restricted`),
      ]);
    }
    const installation: Installation = {
      namespace,
      monitoring,
      release: 'zerda',
      ingress: process.env.E2E_INGRESS || 'localhost:80',
      gateway: process.env.E2E_GATEWAY || undefined,
      prometheusImage: process.env.E2E_PROMETHEUS_IMAGE || 'docker.io/prom/prometheus:v3.5.0',
      ingressHost: 'zerda.e2e.example',
      routeHost: 'route.e2e.example',
    };
    const begunInstall = performance.now();
    await runQuietly(installCommand(installation, imageValues(images)));
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

function installCommand(to: Installation, images: readonly string[]): [string, ...string[]] {
  const [gatewayNamespace, gatewayName] = (to.gateway ?? '').split('/');
  const parentRefs = [{ name: gatewayName, namespace: gatewayNamespace }];
  const set = (path: string, value: unknown): string[] => ['--set-json', `${path}=${JSON.stringify(value)}`];
  return [
    ...(['helm', 'install', to.release, 'charts/zerda', '--namespace', to.namespace] as const),
    ...images,
    ...set('global.demoData', true),
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

async function removeNamespaces(...names: readonly string[]): Promise<void> {
  await runQuietly(['kubectl', 'delete', 'namespace', ...names, '--ignore-not-found', '--timeout=180s']);
}

async function runTests(installation: Installation, files: readonly string[]): Promise<number> {
  const all = (await readdir(join(root, 'tests/e2e')))
    .filter((file) => file.endsWith('.test.ts'))
    .sort()
    .map((file) => `tests/e2e/${file}`);
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--test', '--test-concurrency=1', ...(files.length > 0 ? files : all)],
    {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, E2E_INSTALLATION: JSON.stringify(installation) },
    },
  );
  onStopSignal(() => child.kill('SIGTERM'));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
