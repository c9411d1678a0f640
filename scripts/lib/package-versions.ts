import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { runTool } from '../checks/run-tool.ts';
import { version } from './deployments.ts';
import { root, services } from './services.ts';

/** A service, or the chart, in one version. */
export interface Release {
  readonly unit: string;
  readonly version: string;
  /** Git tag of the release: `<unit>@<version>`. */
  readonly tag: string;
}

/**
 * Applies the files of `.changeset/` below `directory`: raises the versions of the named packages and of the packages that depend on
 * them, writes their changelogs and removes the files. The lock file gets the new versions.
 * @throws StartupError with the output of changesets when it fails
 */
export async function applyChangesets(directory = root): Promise<void> {
  const { code, output } = await runTool('@changesets/cli', 'changeset', ['version'], { cwd: directory });
  if (code !== 0) throw new StartupError(`changeset version failed:\n${output}`);
  const lockFile = join(directory, 'package-lock.json');
  const lock = JSON.parse(await readFile(lockFile, 'utf8')) as {
    readonly packages: Record<string, Record<string, unknown>>;
  };
  for (const name of await readdir(join(directory, 'packages'))) {
    const locked = lock.packages[`packages/${name}`];
    if (locked === undefined) continue;
    const manifest = JSON.parse(await readFile(join(directory, 'packages', name, 'package.json'), 'utf8'));
    locked.version = manifest.version;
    if (locked.dependencies !== undefined) locked.dependencies = manifest.dependencies;
  }
  await writeFile(lockFile, `${JSON.stringify(lock, undefined, 2)}\n`);
}

/** Returns the current versions of all services and of the chart. */
export async function currentReleases(): Promise<Release[]> {
  const chart = parse(await readFile(join(root, 'charts/zerda/Chart.yaml'), 'utf8')) as { version: unknown };
  return [
    ...services.map(({ name, version }) => ({ unit: name, version })),
    { unit: 'chart', version: version.parse(chart.version) },
  ].map((release) => ({ ...release, tag: `${release.unit}@${release.version}` }));
}

/** Returns the releases that have no tag yet. */
export function findUntagged(releases: readonly Release[], tags: readonly string[]): Release[] {
  return releases.filter(({ tag }) => !tags.includes(tag));
}
