import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import type { LockFile } from './affected.ts';
import { captureOutput } from './child-process.ts';
import { linkModules } from './link-modules.ts';
import { installLocked } from './locked-packages.ts';
import { root, type ServiceName } from './services.ts';

/** A version of a service and its source. */
export interface Release {
  readonly service: ServiceName;
  readonly version: string;
  /** Git tag; undefined for the working tree. */
  readonly tag: string | undefined;
}

/** Returns the git tag of a version. */
function tagOf(service: ServiceName, version: string): string {
  return `${service}@${version}`;
}

/** Returns the version of a service in the working tree. */
export async function workingTree(service: ServiceName): Promise<Release> {
  const manifest = await readFile(join(root, 'packages', service, 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  return { service, version, tag: undefined };
}

/**
 * Returns a version of a service: the one with its tag or, if it has no tag yet, the working tree if that has the version.
 * @throws StartupError (78) if neither exists
 */
export async function findRelease(service: ServiceName, version: string): Promise<Release> {
  const tag = tagOf(service, version);
  if ((await git('tag', '--list', tag)).trim() !== '') return { service, version, tag };
  const current = await workingTree(service);
  if (current.version === version) return current;
  throw new StartupError(
    `${service} ${version} has no tag ${tag}, and the working tree is ${current.version}. Run git fetch --tags, or use another version.`,
    78,
  );
}

/** Returns the last release of a service: the tag with the highest version, without prereleases; undefined before the first one. */
export async function findLastRelease(service: ServiceName): Promise<Release | undefined> {
  const tags = await git('tag', '--list', '--sort=-version:refname', tagOf(service, '*'));
  for (const tag of tags.split('\n')) {
    const version = tag.slice(service.length + 1);
    if (/^\d+\.\d+\.\d+$/.test(version)) return { service, version, tag };
  }
  return undefined;
}

/** Returns a file of a release; undefined if the release does not contain it. @param path relative to the repository */
export async function readReleased({ tag }: Release, path: string): Promise<string | undefined> {
  if (tag === undefined) return readFile(join(root, path), 'utf8').catch(() => undefined);
  if ((await git('ls-tree', '--name-only', tag, '--', path)) === '') return undefined;
  return git('show', `${tag}:${path}`);
}

/** Folders with the files of releases. */
export interface Checkouts {
  /** Returns the folder of a release: the repository for the working tree. Packages are linked or installed on request. */
  open(release: Pick<Release, 'tag'>, options?: { readonly modules?: boolean }): Promise<string>;
}

/** Creates checkouts below an existing folder, which the caller removes. Each tag is exported once. */
export function createCheckouts(folder: string): Checkouts {
  const exported = new Map<string, Promise<string>>();
  const installed = new Map<string, Promise<void>>();
  return {
    async open({ tag }, { modules = false } = {}) {
      if (tag === undefined) return root;
      const path = exported.get(tag) ?? exportTag(tag, join(folder, `${exported.size}`));
      exported.set(tag, path);
      const directory = await path;
      if (modules) {
        const done = installed.get(tag) ?? provideModules(directory, tag);
        installed.set(tag, done);
        await done;
      }
      return directory;
    },
  };
}

async function exportTag(tag: string, directory: string): Promise<string> {
  const archive = `${directory}.tar`;
  await mkdir(directory);
  await git('archive', '--format=tar', '--output', archive, tag);
  await captureOutput(['tar', '-xf', archive, '-C', directory]);
  return directory;
}

/** Links the packages of the working tree if the tag has the same ones, and installs them otherwise. */
async function provideModules(directory: string, tag: string): Promise<void> {
  const [here, there] = await Promise.all([root, directory].map(readInstalled));
  if (here === there) await linkModules(directory);
  else await installLocked(directory, `the packages of ${tag}`);
}

/** Returns the third-party packages of a lock file as text. */
async function readInstalled(directory: string): Promise<string> {
  const { packages } = JSON.parse(await readFile(join(directory, 'package-lock.json'), 'utf8')) as LockFile;
  const thirdParty = Object.entries(packages).filter(
    ([path, { link }]) => path.includes('node_modules/') && !link,
  );
  return JSON.stringify(thirdParty.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function git(...args: readonly string[]): Promise<string> {
  return captureOutput(['git', ...args]);
}
