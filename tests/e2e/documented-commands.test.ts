import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { root } from '../../scripts/lib/services.ts';
import { readInstallation } from './lib/installation.ts';
import { kubectl } from './lib/kubectl.ts';
import { removeNamespaces } from './lib/own-release.ts';

const run = promisify(execFile);
const namespace = `${readInstallation().namespace}-documented`;
const registry = process.env.REGISTRY;

if (registry === undefined) {
  it('documented commands: skipped, REGISTRY is not set', { skip: true }, () => undefined);
} else {
  describe('documented commands, in an empty namespace', () => suite(registry));
}

function suite(registry: string): void {
  afterEach(() => removeNamespaces(namespace));

  it('of README.md push the images and install the chart', async () => {
    const blocks = await bashBlocks('README.md');
    await runBlock(blocks, /^REGISTRY=\S+ npm run images$/m);
    await runBlock(blocks, /^helm upgrade --install \S+ \S+ --namespace \S+ --create-namespace --set/m);
    await ready();
    await run('helm', ['test', 'zerda', '--namespace', namespace]);
  });

  it('of docs/kubernetes.md create the Secrets and install without access to the cluster', async () => {
    await runBlock(await bashBlocks('docs/kubernetes.md'), /^kubectl create namespace/m);
    await ready();
  });

  /** Runs the block that matches, with this cluster's registry and a namespace of this test, and no other change. */
  async function runBlock(blocks: readonly string[], pattern: RegExp): Promise<void> {
    const block = blocks.find((text) => pattern.test(text));
    assert.ok(block, `no block matches ${pattern}`);
    const text = block
      .replaceAll('ghcr.io/you', registry)
      .replaceAll(/(--namespace|create namespace) zerda\b/g, `$1 ${namespace}`);
    await run('bash', ['-euo', 'pipefail', '-c', text], { cwd: root, maxBuffer: 16 * 1024 * 1024 });
  }

  async function ready(): Promise<void> {
    for (const service of ['gateway', 'user-service', 'order-service']) {
      const target = [`deployment/zerda-${service}`, '--namespace', namespace];
      await kubectl(['rollout', 'status', ...target, '--timeout=300s']);
    }
  }
}

async function bashBlocks(page: string): Promise<string[]> {
  const text = await readFile(join(root, page), 'utf8');
  return [...text.matchAll(/^```bash\n(.*?)^```$/gms)].map(([, block = '']) => block);
}
