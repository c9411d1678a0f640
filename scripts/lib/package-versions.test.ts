import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { captureOutput } from './child-process.ts';
import { applyChangesets, currentReleases, findUntagged } from './package-versions.ts';
import { root, services } from './services.ts';

describe('npm run release:version', () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-release-'));
    for (const file of ['package.json', 'package-lock.json', '.changeset/config.json'])
      await cp(join(root, file), join(folder, file), { recursive: true });
    for (const name of await readdir(join(root, 'packages'))) {
      await mkdir(join(folder, 'packages', name), { recursive: true });
      await cp(join(root, 'packages', name, 'package.json'), join(folder, 'packages', name, 'package.json'));
    }
    const git = (...args: string[]) => captureOutput(['git', ...args], { cwd: folder });
    await git('init', '--quiet', '--initial-branch=main');
    await git('add', '--all');
    await git(
      '-c',
      'user.name=test',
      '-c',
      'user.email=test@example.com',
      'commit',
      '--quiet',
      '--message=first',
    );
  });

  after(() => rm(folder, { recursive: true, force: true }));

  const manifestOf = async (name: string) =>
    JSON.parse(await readFile(join(folder, 'packages', name, 'package.json'), 'utf8'));
  const changelogOf = (name: string) => readFile(join(folder, 'packages', name, 'CHANGELOG.md'), 'utf8');

  /** Applies a changeset and returns the packages with another version than before, in the order of their names. */
  async function release(changes: Readonly<Record<string, string>>, text: string): Promise<string[]> {
    const names = (await readdir(join(folder, 'packages'))).sort();
    const versionsOf = () => Promise.all(names.map(async (name) => (await manifestOf(name)).version));
    const versions = await versionsOf();
    const header = Object.entries(changes).map(([name, bump]) => `"@zerda/${name}": ${bump}`);
    await writeFile(join(folder, '.changeset/change.md'), ['---', ...header, '---', '', text, ''].join('\n'));
    await applyChangesets(folder);
    const raised = await versionsOf();
    return names.filter((_, index) => raised[index] !== versions[index]);
  }

  it('raises the version of one service alone and writes its changelog', async () => {
    assert.deepEqual(await release({ gateway: 'minor' }, 'Routes can be disabled.'), ['gateway']);
    const { version } = await manifestOf('gateway');
    assert.match(
      await changelogOf('gateway'),
      new RegExp(`## ${version}\n\n### Minor Changes\n\n- .*Routes can be`),
    );
  });

  it('raises the version of each service that contains a changed library', async () => {
    const raised = await release({ events: 'minor' }, 'Events have a priority.');
    for (const name of ['events', 'order-service', 'user-service']) assert.ok(raised.includes(name), name);
    assert.ok(!raised.includes('gateway'));
    const { version } = await manifestOf('events');
    assert.match(await changelogOf('order-service'), new RegExp(`- @zerda/events@${version}`));
  });

  it('raises the versions of all services for a library that all contain, also indirectly', async () => {
    const raised = await release({ contracts: 'patch' }, 'An error has a better description.');
    for (const { name } of services) assert.ok(raised.includes(name), name);
  });

  it('keeps the lock file in step', async () => {
    await release({ upstream: 'patch' }, 'Retries are faster.');
    const { packages } = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8'));
    const original = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'));
    for (const name of await readdir(join(folder, 'packages'))) {
      const { version, dependencies } = await manifestOf(name);
      assert.equal(packages[`packages/${name}`].version, version);
      assert.deepEqual(packages[`packages/${name}`].dependencies, dependencies);
    }
    assert.deepEqual(Object.keys(packages), Object.keys(original.packages));
  });
});

describe('releases', () => {
  it('are the services and the chart with their own versions', async () => {
    const releases = await currentReleases();
    assert.deepEqual(
      releases.map(({ unit }) => unit),
      [...services.map(({ name }) => name), 'chart'],
    );
    for (const { unit, version, tag } of releases) {
      assert.match(version, /^\d+\.\d+\.\d+/);
      assert.equal(tag, `${unit}@${version}`);
    }
  });

  it('are new if they have no tag', async () => {
    const releases = await currentReleases();
    const [released, ...others] = releases;
    assert.ok(released);
    assert.deepEqual(findUntagged(releases, [released.tag, 'gateway@0.0.1', '']), others);
  });
});
