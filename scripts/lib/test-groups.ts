import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundledTest } from './test-bundler.ts';
import { isSystemTest } from './test-files.ts';

/** Maximum weight of the test files that one process runs. */
const maxWeight = 20;
/** Weight of a test file that starts the whole system, which takes longer than several others. */
const systemTestWeight = 5;

const runner = new URL('test-group.mjs', import.meta.url).href;

/**
 * Divides test files into groups of neighbors, which import much of the same code. Loading it takes longer than most tests, so one process
 * runs a group.
 * @param minGroups number of processes that run at the same time
 */
export function groupTests(files: readonly string[], minGroups: number): (readonly string[])[] {
  const weightOf = (file: string) => (isSystemTest(file) ? systemTestWeight : 1);
  const total = files.reduce((sum, file) => sum + weightOf(file), 0);
  const limit = Math.min(maxWeight, Math.ceil(total / minGroups));
  const groups: string[][] = [];
  let weight = 0;
  for (const file of files) {
    if (groups.length === 0 || weight + weightOf(file) > limit) {
      groups.push([]);
      weight = 0;
    }
    groups.at(-1)?.push(file);
    weight += weightOf(file);
  }
  return groups;
}

/**
 * Writes the programs that run groups of bundled test files.
 * @param folder folder of the bundles
 * @param timeoutMs timeout of one file in milliseconds
 * @returns the paths of the programs
 */
export async function writeGroups(
  groups: readonly (readonly string[])[],
  folder: string,
  timeoutMs: number,
): Promise<string[]> {
  await mkdir(join(folder, 'groups'), { recursive: true });
  return Promise.all(
    groups.map(async ([first = '', ...rest], index) => {
      const files = [first, ...rest].map((file) => [file, pathToFileURL(bundledTest(file, folder)).href]);
      // The test runner sorts programs by name.
      const order = String(index + 1).padStart(3, '0');
      const program = join(folder, 'groups', `${order}-${first.replace(/\W+/g, '-')}.mjs`);
      await writeFile(
        program,
        `import { runGroup } from '${runner}';\nrunGroup(${JSON.stringify(files)}, ${timeoutMs});\n`,
      );
      return program;
    }),
  );
}
