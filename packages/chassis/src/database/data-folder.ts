import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../startup-error.ts';

/** A data folder that this process alone uses. */
export interface DataFolder {
  /** Where the engine keeps its files. */
  readonly path: string;
  release(): Promise<void>;
}

/** Major version of PostgreSQL that PGlite is; a folder written by another one cannot be read. */
const engineVersion = '18';

const lockName = 'lock';
const versionName = 'engine-version';
const filesName = 'files';

/**
 * Takes a folder for this process: PGlite itself does not notice a second process, whose rows would vanish.
 * The lock of a process that no longer lives is taken over.
 * @throws StartupError when another process has it, another engine wrote it, or it cannot be written; nothing is changed
 */
export async function acquireDataFolder(folder: string): Promise<DataFolder> {
  try {
    await mkdir(folder, { recursive: true });
    await checkVersion(folder);
    await lock(folder);
    await writeFile(join(folder, versionName), `${engineVersion}\n`);
  } catch (error) {
    throw explain(error, folder);
  }
  return {
    path: join(folder, filesName),
    release: () => rm(join(folder, lockName), { force: true }),
  };
}

/** Id of the living process that uses the folder; undefined when none does. */
export async function dataFolderUser(folder: string): Promise<number | undefined> {
  const pid = await readPid(join(folder, lockName));
  return pid !== undefined && isAlive(pid) ? pid : undefined;
}

async function checkVersion(folder: string): Promise<void> {
  const written = await readFile(join(folder, versionName), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (written === undefined || written.trim() === engineVersion) return;
  throw new StartupError(
    `${folder} was written by PostgreSQL ${written.trim()}, this is ${engineVersion}: keep using the version that wrote it, or start anew with npm run reset`,
    78,
  );
}

/**
 * The lock appears with its content in one step (a hard link), so nobody reads it half written; a stale one is moved
 * aside before it goes, so that of two processes that found it only one takes over.
 */
async function lock(folder: string): Promise<void> {
  const file = join(folder, lockName);
  const own = join(folder, `${lockName}.${process.pid}`);
  await writeFile(own, String(process.pid));
  try {
    for (;;) {
      try {
        return await link(own, file);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      await refuseWhenUsed(folder);
      const aside = `${own}.stale`;
      await rename(file, aside).catch(() => undefined);
      const taken = await readPid(aside);
      if (taken !== undefined && isAlive(taken)) await link(aside, file);
      await rm(aside, { force: true });
      await refuseWhenUsed(folder);
    }
  } finally {
    await rm(own, { force: true });
  }
}

async function refuseWhenUsed(folder: string): Promise<void> {
  const user = await dataFolderUser(folder);
  if (user === undefined) return;
  throw new StartupError(
    `${folder} is in use by process ${user}; stop it, or choose another folder with DATA_DIR`,
  );
}

async function readPid(file: string): Promise<number | undefined> {
  const pid = Number.parseInt(await readFile(file, 'utf8').catch(() => ''), 10);
  return Number.isInteger(pid) ? pid : undefined;
}

/** Signal 0 asks without sending; not being allowed to ask means there is somebody. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function explain(error: unknown, folder: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new StartupError(`${folder} cannot be written; give this user the right to, or set DATA_DIR`);
    case 'ENOTDIR':
    case 'EEXIST':
      return new StartupError(`${folder} is not a folder; set DATA_DIR to one`);
    case 'ENOSPC':
      return new StartupError(`${folder} is on a full disk; make room, or set DATA_DIR`);
    default:
      return error;
  }
}
