import { readdir, stat } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { root } from './services.ts';

/** Folders without tests of this repository. */
const skippedFolders = new Set(['node_modules', 'dist', '.tsbuild', 'coverage', '.data']);

const attacks = join('tests', 'attack') + sep;
const systemTests = join('tests', 'system') + sep;
/** Tests that need tools beyond npm packages or take minutes. They run only when their path is given. */
const excludedByDefault = [
  'attack',
  'compose',
  'contract',
  'e2e',
  'repository',
  join('faults', 'mutants'),
].map((folder) => join('tests', folder) + sep);

export interface FoundTests {
  /** Tests that run in parallel. Those that start the whole system come first, because they take longest. */
  readonly parallel: readonly string[];
  /** Attacks, which load the machine and measure times. They run one at a time. */
  readonly sequential: readonly string[];
}

/**
 * Finds the `*.test.ts` files below `paths` (files or folders), relative to the repository and sorted. Without paths it
 * searches packages/, scripts/ and tests/, except tests/compose, tests/contract and tests/e2e, which need other tools, and
 * tests/attack, tests/repository and tests/faults/mutants, which take minutes.
 * @throws StartupError when a path does not exist or contains no tests
 */
export async function findTests(paths: readonly string[]): Promise<FoundTests> {
  const foundFiles =
    paths.length > 0
      ? (await Promise.all(paths.map(testsBelow))).flat()
      : (await Promise.all(['packages', 'scripts', 'tests'].map(testsBelow)))
          .flat()
          .filter((file) => !excludedByDefault.some((folder) => file.startsWith(folder)));
  if (foundFiles.length === 0)
    throw new StartupError(`No *.test.ts files found in ${paths.join(', ') || root}.`);
  const files = [...new Set(foundFiles)].sort();
  const sequential = files.filter((file) => file.startsWith(attacks));
  const systems = files.filter(isSystemTest);
  const others = files.filter((file) => !sequential.includes(file) && !systems.includes(file));
  return { parallel: [...systems, ...others], sequential };
}

/** Returns whether a test file starts the whole system. */
export function isSystemTest(file: string): boolean {
  return file.startsWith(systemTests);
}

/** Commands that tests run often, without `npm`. */
const commands = ['events', 'keys', 'logs', 'reset', 'routes', 'trace'];

/** Returns the programs that tests run in processes of their own, relative to the repository. */
export async function findPrograms(): Promise<string[]> {
  const folder = join('packages', 'chassis', 'testing');
  const names = await readdir(join(root, folder));
  return [
    ...names.filter((name) => name.endsWith('-process.ts')).map((name) => join(folder, name)),
    ...commands.map((name) => join('scripts', `${name}.ts`)),
  ];
}

async function testsBelow(path: string): Promise<string[]> {
  const full = resolve(root, path);
  const info = await stat(full).catch(() => {
    throw new StartupError(`The path ${path} does not exist.`);
  });
  if (info.isFile()) return [relative(root, full)];
  const entries = await readdir(full, { withFileTypes: true });
  const nested = await Promise.all(
    entries.map(async (entry) => {
      const inside = join(full, entry.name);
      if (entry.isDirectory()) return skippedFolders.has(entry.name) ? [] : testsBelow(inside);
      return entry.name.endsWith('.test.ts') ? [relative(root, inside)] : [];
    }),
  );
  return nested.flat();
}
