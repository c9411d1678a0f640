import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../lib/services.ts';

type Versions = Readonly<Record<string, string>>;

interface Manifest {
  readonly dependencies?: Versions;
  readonly devDependencies?: Versions;
  readonly optionalDependencies?: Versions;
}

interface Lock {
  readonly packages: Readonly<Record<string, { readonly resolved?: string }>>;
}

const exact = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;

/**
 * Returns problems with dependency versions below `directory` (default: the repository), one line each: a version that is
 * not exact, one dependency in two versions, and a lock file with registry URLs.
 */
export async function findVersionProblems(directory = root): Promise<string[]> {
  const packages = await readdir(join(directory, 'packages'), { withFileTypes: true });
  const files = [
    'package.json',
    ...packages
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `packages/${name}/package.json`)
      .sort(),
  ];
  const problems: string[] = [];
  const seen = new Map<string, { version: string; file: string }>();
  for (const file of files) {
    const manifest = await readJson<Manifest>(join(directory, file));
    const all = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies };
    for (const [name, version] of Object.entries(all)) {
      if (!exact.test(version)) problems.push(`${file}: ${name} is "${version}", not an exact version`);
      const first = seen.get(name);
      if (first === undefined) seen.set(name, { version, file });
      else if (first.version !== version)
        problems.push(`${file}: ${name} is ${version}, but ${first.version} in ${first.file}`);
    }
  }
  return [...problems, ...(await findRegistryAddresses(directory))];
}

async function findRegistryAddresses(directory: string): Promise<string[]> {
  const { packages } = await readJson<Lock>(join(directory, 'package-lock.json'));
  return Object.entries(packages)
    .filter(([, { resolved }]) => resolved !== undefined && /^[a-z+]+:\/\//.test(resolved))
    .map(
      ([name, { resolved }]) => `package-lock.json: ${name} is resolved to ${resolved}; remove registry URLs`,
    );
}

async function readJson<Content>(file: string): Promise<Content> {
  return JSON.parse(await readFile(file, 'utf8')) as Content;
}
