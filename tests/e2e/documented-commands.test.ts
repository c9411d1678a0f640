import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { root, services } from '../../scripts/lib/services.ts';
import { readInstallation } from './lib/installation.ts';
import { apply, kubectl } from './lib/kubectl.ts';
import { waitForRollouts } from './lib/rollouts.ts';
import { secretFiles } from './lib/secret-files.ts';
import { forceDeleteNamespace } from './lib/test-release.ts';

const run = promisify(execFile);
const namespace = `${readInstallation().namespace}-documented`;
const inNamespace = ['--namespace', namespace];
const registry = process.env.REGISTRY;

if (registry === undefined) {
  it('documented commands: skipped, REGISTRY is not set', { skip: true }, () => undefined);
} else {
  describe('commands of docs/kubernetes.md, in an empty namespace', () => suite(registry));
}

function suite(registry: string): void {
  afterEach(() => forceDeleteNamespace(namespace));

  it('push the images, install the chart and upgrade the release', async () => {
    const blocks = await bashBlocks('docs/kubernetes.md');
    await runBlock(blocks, /^REGISTRY=\S+ npm run images$/m);
    await runBlock(blocks, /^helm upgrade --install \S+ \S+ --namespace \S+ --create-namespace --set/m);
    await waitForRollouts(namespace);
    await run('helm', ['test', 'zerda', '--namespace', namespace]);

    await runBlock(blocks, /cert-manager\.io\/cluster-issuer/);
    const { spec, metadata } = JSON.parse(
      await kubectl(['get', 'ingress', ...inNamespace, '--output', 'json']),
    ).items[0];
    assert.deepEqual(spec.tls, [{ hosts: ['zerda.example.com'], secretName: 'zerda-tls' }]);
    assert.equal(metadata.annotations['cert-manager.io/cluster-issuer'], 'letsencrypt');
    await runBlock(blocks, /--set global\.nats\.type=bundled/);
    await waitForRollouts(namespace);
    await kubectl(['rollout', 'status', 'statefulset/zerda-nats', ...inNamespace, '--timeout=300s']);
    // This cluster has neither OpenShift nor load balancers: the API server validates the objects without changing any.
    await runBlock(blocks, /--set global\.openshift=true/, (text) =>
      text.replaceAll(/.$/gm, '$& --dry-run=server'),
    );
  });

  it('install for production with existing databases and Secrets', async () => {
    await kubectl(['create', 'namespace', namespace]);
    const secret = (name: string, stringData: Record<string, string>) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace },
      stringData,
    });
    const databases = ['users', 'orders'].flatMap((name) => {
      const password = randomBytes(12).toString('hex');
      const labels = { app: `${name}-database` };
      const env = Object.entries({ POSTGRES_USER: name, POSTGRES_DB: name, POSTGRES_PASSWORD: password });
      return [
        secret(`${name}-app`, {
          uri: `postgresql://${name}:${password}@${name}-database.${namespace}:5432/${name}`,
        }),
        {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: labels.app, namespace, labels },
          spec: {
            containers: [
              {
                name: 'postgres',
                image: 'postgres:17-bookworm',
                ports: [{ containerPort: 5432 }],
                env: env.map(([key, value]) => ({ name: key, value })),
                readinessProbe: { exec: { command: ['pg_isready', '-h', '127.0.0.1'] }, periodSeconds: 1 },
              },
            ],
          },
        },
        {
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { name: labels.app, namespace },
          spec: { selector: labels, ports: [{ port: 5432 }] },
        },
      ];
    });
    const randomSecret = (): string => randomBytes(32).toString('hex');
    await apply(
      ...databases,
      secret('zerda-events', { secret: randomSecret() }),
      secret('zerda-auth', { 'key-secret': randomSecret(), 'admin-password': randomSecret() }),
    );
    await kubectl(['wait', '--for=condition=Ready', 'pod', '--all', ...inNamespace, '--timeout=120s']);
    await runBlock(await bashBlocks('docs/kubernetes.md'), /--values charts\/zerda\/values-prod\.yaml/);
    await waitForRollouts(namespace);
  });

  it('install without Helm by kubectl apply -k, with the files of secrets that k8s/secrets/kustomization.yaml names', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-kustomize-'));
    try {
      await cp(join(root, 'k8s'), folder, { recursive: true });
      for (const name of await secretFiles())
        await copyFile(join(folder, 'secrets/example.env'), join(folder, 'secrets', name));
      const file = join(folder, 'kustomization.yaml');
      const images = services.map(
        ({ name }) => `  - { name: zerda/${name}, newName: ${registry}/zerda/${name} }\n`,
      );
      const text = (await readFile(file, 'utf8')).replace(/^namespace: zerda$/m, `namespace: ${namespace}`);
      await writeFile(file, `${text}images:\n${images.join('')}`);
      await kubectl(['apply', '--kustomize', folder]);
      await waitForRollouts(namespace);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('create the Secrets and install from a render without access to the cluster', async () => {
    await runBlock(await bashBlocks('docs/kubernetes.md'), /^kubectl create namespace/m);
    await waitForRollouts(namespace);
  });

  /** Runs the matching block. Replaces only the registry and the namespace, then applies `change`. */
  async function runBlock(
    blocks: readonly string[],
    pattern: RegExp,
    change = (text: string): string => text,
  ): Promise<void> {
    const block = blocks.find((text) => pattern.test(text));
    assert.ok(block, `no block matches ${pattern}`);
    const text = block
      .replaceAll('ghcr.io/you', registry)
      .replaceAll(/(--namespace|create namespace) zerda\b/g, `$1 ${namespace}`);
    await run('bash', ['-euo', 'pipefail', '-c', change(text)], { cwd: root, maxBuffer: 16 * 1024 * 1024 });
  }
}

async function bashBlocks(page: string): Promise<string[]> {
  const text = await readFile(join(root, page), 'utf8');
  return [...text.matchAll(/^```bash\n(.*?)^```$/gms)].map(([, block = '']) => block);
}
