import { readdir, stat } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { root } from './services.ts';

/** Folders that hold no test of this repository. */
const skipped = new Set(['node_modules', 'dist', '.tsbuild', 'coverage', '.data']);

const systemTests = ['attack', 'system'].map((folder) => join('tests', folder) + sep);
/** Tests that need what npm does not install, or minutes: they are run when they are asked for. */
const apart = ['attack', 'compose', 'contract', 'e2e', join('faults', 'mutants')].map(
  (folder) => join('tests', folder) + sep,
);

export interface TestGroups {
  /** Tests that run side by side. */
  readonly units: readonly string[];
  /** Tests that start the whole system, which measure times and so want the machine for themselves. */
  readonly systems: readonly string[];
}

/**
 * Finds the `*.test.ts` files below `paths` (files or folders), relative to the repository and sorted. Without
 * paths: all of packages/, scripts/ and tests/ but tests/compose, tests/contract and tests/e2e, which need more than npm installs,
 * and tests/attack and tests/faults/mutants, which take minutes.
 * @throws StartupError when a path does not exist or nothing is found.
 */
export async function findTests(paths: readonly string[]): Promise<TestGroups> {
  const found =
    paths.length > 0
      ? (await Promise.all(paths.map(testsBelow))).flat()
      : (await Promise.all(['packages', 'scripts', 'tests'].map(testsBelow)))
          .flat()
          .filter((file) => !apart.some((folder) => file.startsWith(folder)));
  if (found.length === 0) throw new StartupError(`No *.test.ts file below ${paths.join(', ') || root}.`);
  const files = [...new Set(found)].sort();
  return {
    units: files.filter((file) => !isSystemTest(file)),
    systems: files.filter(isSystemTest),
  };
}

function isSystemTest(file: string): boolean {
  return systemTests.some((folder) => file.startsWith(folder));
}

async function testsBelow(path: string): Promise<string[]> {
  const full = resolve(root, path);
  const found = await stat(full).catch(() => {
    throw new StartupError(`There is no ${path} to test.`);
  });
  if (found.isFile()) return [relative(root, full)];
  const entries = await readdir(full, { withFileTypes: true });
  const nested = await Promise.all(
    entries.map(async (entry) => {
      const inside = join(full, entry.name);
      if (entry.isDirectory()) return skipped.has(entry.name) ? [] : testsBelow(inside);
      return entry.name.endsWith('.test.ts') ? [relative(root, inside)] : [];
    }),
  );
  return nested.flat();
}
