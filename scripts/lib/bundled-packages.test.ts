import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { Metafile, Plugin } from 'esbuild';
import { copyManifests, findBundledPackages, manifestsFolder } from './bundled-packages.ts';
import { bundle } from './bundler.ts';
import { findCommand } from './chart.ts';
import { bundleFile, root, services } from './services.ts';

type Output = Metafile['outputs'][string];

const run = promisify(execFile);
const syft = await findCommand('syft');
const syftIsRequired = process.env.REQUIRE_SYFT === '1';

describe('the manifests of bundled packages', () => {
  let dist: string;
  /** Folders of the packages in each bundle, by its service. */
  let packages: ReadonlyMap<string, readonly string[]>;

  before(async () => {
    dist = await mkdtemp(join(tmpdir(), 'zerda-manifests-'));
    const names = services.map(({ name }) => name);
    const recordPackages: Plugin = {
      name: 'record-packages',
      setup({ onEnd }) {
        onEnd(({ metafile }) => {
          const outputOf = (name: string) => metafile?.outputs[relative(root, bundleFile(name, dist))];
          packages = new Map(names.map((name) => [name, findBundledPackages(outputOf(name) as Output)]));
        });
      },
    };
    const plugins = [copyManifests(names, dist), recordPackages];
    await bundle(names, { packages: join(root, 'packages'), dist }, plugins);
  });

  after(() => rm(dist, { recursive: true, force: true }));

  for (const { name } of services) {
    it(`of ${name} are those of the modules in it, with versions and licenses`, async () => {
      const code = await readFile(bundleFile(name, dist), 'utf8');
      // esbuild writes the path of each module above its code.
      const modules = code.matchAll(/^ *\/\/ .*node_modules\/((?:@[^/\n]+\/)?[^/\n]+)\//gm);
      const expected = new Set([...modules].map(([, owner]) => owner));
      const manifests = await readManifests(manifestsFolder(name, dist));
      assert.deepEqual([...new Set(manifests.map((manifest) => manifest.name))].sort(), [...expected].sort());
      assert.ok(expected.size > 50, `${expected.size} packages`);
      for (const { version, license, licenses } of manifests) {
        assert.match(version, /^\d+\.\d+\.\d+/);
        assert.ok(license ?? licenses);
      }
    });
  }

  it('have the text of the license beside them', async () => {
    const files = await readdir(join(manifestsFolder('gateway', dist), 'express'));
    assert.ok(files.includes('LICENSE'), files.join());
  });

  const skip = syft === undefined && !syftIsRequired && 'syft is not on the PATH';
  it(`are what a scanner finds in the files of the image${skip ? `: skipped, ${skip}` : ''}`, {
    skip,
  }, async () => {
    assert.ok(syft, 'syft is not on the PATH. Install it or unset REQUIRE_SYFT.');
    for (const [name, folders] of packages) {
      // As in the Dockerfile.
      const app = join(dist, 'image', name);
      await cp(join(dist, name), app, { recursive: true });
      await cp(manifestsFolder(name, dist), join(app, 'node_modules'), { recursive: true });
      const { stdout } = await run(
        syft,
        ['scan', `dir:${app}`, '--override-default-catalogers', 'image', '--output', 'json', '--quiet'],
        { maxBuffer: 64 * 1024 * 1024 },
      );
      const { artifacts } = JSON.parse(stdout) as { artifacts: { name: string; version: string }[] };
      const expected = await Promise.all(
        folders.map(async (folder) => JSON.parse(await readFile(join(root, folder, 'package.json'), 'utf8'))),
      );
      assert.deepEqual(identify(artifacts), identify(expected));
    }
  });
});

function identify(packages: readonly { readonly name: string; readonly version: string }[]): string[] {
  return [...new Set(packages.map(({ name, version }) => `${name}@${version}`))].sort();
}

async function readManifests(folder: string) {
  const files = await readdir(folder, { recursive: true });
  return Promise.all(
    files
      .filter((file) => file.endsWith('package.json'))
      .map(async (file) => JSON.parse(await readFile(join(folder, file), 'utf8'))),
  );
}
