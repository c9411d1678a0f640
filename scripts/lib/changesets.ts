import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';

/** Returns the names of the changeset files below `directory` that declare a major change of a package. */
export async function findMajorChangesets(directory: string, packageName: string): Promise<string[]> {
  const folder = join(directory, '.changeset');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.md') && name !== 'README.md').sort();
  const found = await Promise.all(
    names.map(async (name) => {
      const [, header = ''] =
        /^---\r?\n(.*?)\r?\n---/s.exec(await readFile(join(folder, name), 'utf8')) ?? [];
      const changes = parse(header) as Readonly<Record<string, string>> | null;
      return changes?.[packageName] === 'major' ? [name] : [];
    }),
  );
  return found.flat();
}
