import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundledTest } from './test-bundler.ts';

/** Maximum number of test files that one process runs. */
const maxFiles = 20;

const runner = new URL('test-group.mjs', import.meta.url).href;

/**
 * Divides test files into groups of neighbors, which import much of the same code. Loading it takes longer than most tests, so one process
 * runs a group.
 * @param minGroups number of processes that run at the same time
 */
export function groupTests(files: readonly string[], minGroups: number): (readonly string[])[] {
  const count = Math.max(minGroups, Math.ceil(files.length / maxFiles));
  const size = Math.ceil(files.length / count);
  const groups: (readonly string[])[] = [];
  for (let start = 0; start < files.length; start += size) groups.push(files.slice(start, start + size));
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
      const program = join(folder, 'groups', `${index + 1}-${first.replace(/\W+/g, '-')}.mjs`);
      await writeFile(
        program,
        `import { runGroup } from '${runner}';\nrunGroup(${JSON.stringify(files)}, ${timeoutMs});\n`,
      );
      return program;
    }),
  );
}
