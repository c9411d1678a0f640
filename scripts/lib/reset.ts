import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  acquireForRemoval,
  dataFolderUser,
  type RemovableFolder,
} from '../../packages/chassis/src/database/data-folder.ts';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { secretsFile } from './generated-secrets.ts';
import { logFiles } from './log-files.ts';
import { services } from './services.ts';

/**
 * Removes the embedded databases, the secrets and the stored log lines in `dataDir`, and `dataDir` itself if it is empty then. Returns the removed
 * folders.
 * @throws StartupError when a service is running or a folder does not belong to a service; then nothing is removed
 */
export async function removeData(dataDir: string): Promise<string[]> {
  const names = services.filter(({ database }) => database).map(({ name }) => name);
  const users = await Promise.all(
    names.map(async (name) => ({ name, pid: await dataFolderUser(join(dataDir, name)) })),
  );
  const running = users.filter(({ pid }) => pid !== undefined);
  if (running.length > 0) {
    const list = running.map(({ name, pid }) => `${name} (process ${pid})`).join(' and ');
    throw new StartupError(`Nothing was removed. Stop ${list} first.`);
  }

  const doomed: { path: string; folder: RemovableFolder }[] = [];
  try {
    // All folders are locked before the first is removed, so that a service cannot start meanwhile.
    for (const path of names.map((name) => join(dataDir, name))) {
      const folder = await acquireForRemoval(path);
      if (folder) doomed.push({ path, folder });
    }
    for (const { folder } of doomed) await folder.remove();
    // The data that they encrypt has been removed.
    await rm(secretsFile(dataDir), { force: true });
    await rm(logFiles(dataDir).folder, { recursive: true, force: true });
  } finally {
    for (const { folder } of doomed) await folder.release();
  }
  // The folder stays if it contains other files or cannot be removed, for example a mounted volume.
  await rmdir(dataDir).catch(() => undefined);
  return doomed.map(({ path }) => path);
}
