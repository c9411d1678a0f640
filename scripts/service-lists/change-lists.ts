import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { root } from '../lib/services.ts';
import type { Registration } from './registrations.ts';

/** A file with its new text. */
export interface ChangedFile {
  readonly file: string;
  readonly text: string;
}

/**
 * Applies the edits of all lists, without writing. Returns the files that change.
 * @throws StartupError with the file whose list does not have the expected form
 */
export async function changeLists(
  registrations: readonly Registration[],
  change: 'add' | 'remove',
): Promise<ChangedFile[]> {
  const files = await Promise.all(
    registrations.map(async (registration) => {
      const { file } = registration;
      const text = await readFile(join(root, file), 'utf8');
      try {
        return { file, text: registration[change](text), original: text };
      } catch (cause) {
        throw new StartupError(`${file}: ${(cause as Error).message}`, 1, { cause });
      }
    }),
  );
  return files.filter(({ text, original }) => text !== original);
}

export async function writeFiles(files: readonly ChangedFile[]): Promise<void> {
  for (const { file, text } of files) {
    await mkdir(dirname(join(root, file)), { recursive: true });
    await writeFile(join(root, file), text);
  }
}
