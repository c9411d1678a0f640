import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import packageJson from '../../package.json' with { type: 'json' };
import { kubernetesVersions } from '../../scripts/lib/chart.ts';
import { root } from '../../scripts/lib/services.ts';

const read = (file: string): Promise<string> => readFile(join(root, file), 'utf8');
const page = await read('docs/versions.md');

/** Returns the supported versions of a row. */
function supported(software: string): string {
  const row = page.split('\n').find((line) => line.startsWith(`| ${software}`)) ?? '';
  return row.split('|')[2]?.trim() ?? '';
}

describe('docs/versions.md', () => {
  it('names the versions of Node.js in package.json, .nvmrc and the Dockerfile', async () => {
    const [, minimum] = /^>=(\d+\.\d+)$/.exec(packageJson.engines.node) ?? [];
    assert.equal(supported('Node.js, to develop'), `${minimum} and later`);
    assert.equal((await read('.nvmrc')).trim(), minimum);
    const [, node] = /NODE_IMAGE=\S+\/node:(\d+)-/.exec(await read('Dockerfile')) ?? [];
    assert.equal(supported('Node.js, in images'), node);
  });

  it('names the versions of Kubernetes that the chart tests validate', async () => {
    const [oldest, newest] = [kubernetesVersions.oldest, kubernetesVersions.newest].map((version) =>
      version.replace(/\.0$/, ''),
    );
    assert.equal(supported('Kubernetes'), `${oldest} to ${newest}`);
    const { kubeVersion } = parse(await read('charts/zerda/Chart.yaml')) as { kubeVersion: string };
    assert.equal(kubeVersion, `>=${kubernetesVersions.oldest}-0`);
  });
});

describe('dependabot.yml', () => {
  it('ignores only major versions of packages that are used in an earlier one', async () => {
    const { updates } = parse(await read('.github/dependabot.yml')) as {
      updates: {
        'package-ecosystem': string;
        ignore?: { 'dependency-name': string; versions: string[] }[];
      }[];
    };
    const { packages } = JSON.parse(await read('package-lock.json')) as {
      packages: Record<string, { version: string }>;
    };
    const ignored = updates.flatMap(({ ignore = [] }) => ignore);
    assert.ok(ignored.length > 0);
    for (const { 'dependency-name': name, versions } of ignored) {
      const [, next] = /^>=(\d+)$/.exec(versions.join()) ?? [];
      const [major] = packages[`node_modules/${name}`]?.version.split('.') ?? [];
      assert.equal(Number(next), Number(major) + 1, name);
    }
  });
});
