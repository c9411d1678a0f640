import type { Service, ServiceName } from './services.ts';

/** A state of the repository: the manifests of its packages and its lock file. */
export interface Snapshot {
  /** Manifests by folder, such as `packages/gateway`; the root's under the empty name. */
  readonly manifests: ReadonlyMap<string, Manifest>;
  readonly lock: LockFile;
}

interface Manifest {
  readonly name?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

export interface LockFile {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

interface LockedPackage extends Manifest {
  readonly version?: string;
  readonly integrity?: string;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly link?: boolean;
  readonly resolved?: string;
}

/** What a change affects besides services. */
export const areas = ['chart', 'docs'] as const;

export type Area = (typeof areas)[number];

export interface Affected {
  readonly services: readonly ServiceName[];
  readonly areas: readonly Area[];
}

/** Files that define the pipelines. A change affects every service and area, so that each pipeline runs as changed. */
const pipelineInputs = /^(\.github\/workflows\/|\.ci\/|scripts\/(lib\/)?(pipeline|delivery-units)\.ts$)/;

/** Files of the repository's root, and folders, that every bundle, image or test depends on. */
const sharedInputs = [
  pipelineInputs,
  /^(package\.json|\.npmrc|Dockerfile|\.dockerignore|docker-bake\.hcl|tsconfig\.(base|tools)\.json)$/,
  /^scripts\/(build|images|test)\.ts$/,
  /^scripts\/lib\//,
  /^tests\/(kit|system)\//,
];

const areaInputs: Readonly<Record<Area, RegExp>> = {
  chart:
    /^((charts|k8s|deploy|tests\/(chart|e2e|monitoring)|scripts\/dashboards)\/|scripts\/lib\/(chart|deploy))/,
  docs: /^(docs\/|[^/]+\.md$|packages\/[^/]+\/README\.md$|tests\/checks\/)/,
};

/**
 * Returns what a change affects: the services whose bundle, image or tests may differ, and whether the chart or pages of the
 * documentation changed. Generated pages count when they change themselves.
 * @param files changed files, relative to the repository
 */
export function findAffected(
  services: readonly Pick<Service, 'name'>[],
  files: readonly string[],
  before: Snapshot,
  after: Snapshot,
): Affected {
  const isShared = files.some((file) => sharedInputs.some((pattern) => pattern.test(file)));
  const lockChanged = files.includes('package-lock.json');
  // The development packages of the root build and test every service.
  const toolsChanged = lockChanged && differ(before, after, '');
  return {
    services: services
      .map(({ name }) => name)
      .filter((name) => {
        if (isShared || toolsChanged) return true;
        const folders = workspaceClosure(`packages/${name}`, after);
        if (files.some((file) => folders.some((folder) => file.startsWith(`${folder}/`)))) return true;
        return lockChanged && folders.some((folder) => differ(before, after, folder));
      }),
    areas: areas.filter((area) =>
      files.some((file) => areaInputs[area].test(file) || pipelineInputs.test(file)),
    ),
  };
}

/** Returns the folder and those of the workspace packages that it depends on, also indirectly. */
export function workspaceClosure(folder: string, { manifests }: Pick<Snapshot, 'manifests'>): string[] {
  const folderOf = new Map([...manifests].map(([path, { name }]) => [name, path]));
  const closure = new Set([folder]);
  for (const path of closure)
    for (const dependency of Object.keys(dependenciesOf(manifests.get(path)))) {
      const found = folderOf.get(dependency);
      if (found !== undefined) closure.add(found);
    }
  return [...closure];
}

/** Returns whether the locked packages that a workspace folder depends on differ. */
function differ(before: Snapshot, after: Snapshot, folder: string): boolean {
  const [one, other] = [before, after].map(({ manifests, lock }) => {
    const manifest = manifests.get(folder);
    const names = Object.keys({ ...dependenciesOf(manifest), ...manifest?.devDependencies });
    return JSON.stringify(lockedClosure(lock, folder, names));
  });
  return one !== other;
}

/** Returns version and integrity of each package that Node.js resolves from a folder for these names, also indirectly. */
function lockedClosure({ packages }: LockFile, folder: string, names: readonly string[]): string[] {
  const found = new Map<string, LockedPackage>();
  const visit = (from: string, name: string): void => {
    const path = resolve(packages, from, name);
    const locked = path === undefined ? undefined : packages[path];
    // Links are packages of the workspace.
    if (path === undefined || locked === undefined || locked.link || found.has(path)) return;
    found.set(path, locked);
    for (const next of Object.keys({ ...dependenciesOf(locked), ...locked.peerDependencies }))
      visit(path, next);
  };
  for (const name of names) visit(folder, name);
  return [...found].map(([path, { version, integrity }]) => `${path} ${version} ${integrity}`).sort();
}

/** Returns the path of a package in the lock file, searched like Node.js does: in the folder, then in each folder above. */
function resolve(packages: LockFile['packages'], from: string, name: string): string | undefined {
  for (let folder = from; ; folder = folder.replace(/(^|\/)[^/]*$/, '')) {
    const path = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
    if (packages[path] !== undefined) return path;
    if (folder === '') return undefined;
  }
}

function dependenciesOf(manifest: Manifest | undefined): Readonly<Record<string, string>> {
  return { ...manifest?.dependencies, ...manifest?.optionalDependencies };
}
