import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  acquireForRemoval,
  type DoomedFolder,
  dataFolderUser,
} from '../../packages/chassis/src/database/data-folder.ts';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { secretsFile } from './own-secrets.ts';
import { services } from './services.ts';

/**
 * Removes the embedded databases below `dataDir` with the secrets of the system, and `dataDir` when nothing else is in it. Returns the folders removed.
 * @throws StartupError with one line when a service still runs or a folder is not a service's; then nothing is removed
 */
export async function removeData(dataDir: string): Promise<string[]> {
  const names = services.filter(({ hasDatabase }) => hasDatabase).map(({ name }) => name);
  const users = await Promise.all(
    names.map(async (name) => ({ name, pid: await dataFolderUser(join(dataDir, name)) })),
  );
  const running = users.filter(({ pid }) => pid !== undefined);
  if (running.length > 0) {
    const list = running.map(({ name, pid }) => `${name} (process ${pid})`).join(' and ');
    throw new StartupError(`Stop ${list} first; nothing was removed.`);
  }

  const doomed: { path: string; folder: DoomedFolder }[] = [];
  try {
    // All are taken before the first is removed, so that a service which starts meanwhile is refused.
    for (const path of names.map((name) => join(dataDir, name))) {
      const folder = await acquireForRemoval(path);
      if (folder) doomed.push({ path, folder });
    }
    for (const { folder } of doomed) await folder.remove();
    // What they encrypt has just gone.
    await rm(secretsFile(dataDir), { force: true });
  } finally {
    for (const { folder } of doomed) await folder.release();
  }
  // It stays when other things are in it, and when it is not this user's to remove, as a mounted volume.
  await rmdir(dataDir).catch(() => undefined);
  return doomed.map(({ path }) => path);
}
