import { createHash, randomUUID } from 'node:crypto';
import { link, lstat, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StartupError } from '../startup-error.ts';
import { makePrivateFolder, makePrivateUnlessShared } from './private-path.ts';

/** A data folder that is locked by this process. */
export interface DataFolder {
  /**
   * Opens the database files. If there are none, `open` creates them. Incomplete files of a process that died meanwhile are removed first.
   * @param open receives the path of the files
   */
  openFiles<T>(open: (path: string) => Promise<T>): Promise<T>;
  /** Unlocks the folder. Further calls do nothing. */
  release(): Promise<void>;
}

/** A data folder that is locked until it is removed or released. */
export interface RemovableFolder {
  /** Removes the folder and its content. */
  remove(): Promise<void>;
  /** Unlocks the folder without removing it. */
  release(): Promise<void>;
}

/** Major version of PostgreSQL in PGlite, which cannot read files of other versions. */
const engineVersion = '18';

const lockName = 'lock';
const versionName = 'engine-version';
const filesName = 'files';
/** Marker file that exists until the first database files are complete. */
const initializingName = 'initializing';
/** The lock file and the temporary files of its acquisition, which a killed process can leave. */
const lockFiles = new RegExp(`^${lockName}(\\.[0-9a-f-]+)*$`);

/**
 * Creates the parent of the data folders with mode 0700. If it exists and contains only data folders and private files,
 * removes the access of other users. If it contains anything else, keeps its mode, because each data folder is private.
 */
export async function makeDataDir(dataDir: string): Promise<void> {
  await withFolderErrors(dataDir, () => makePrivateUnlessShared(dataDir, isDataFolder));
}

/**
 * Locks a folder for this process, because PGlite does not detect a second process and would lose its writes.
 * Takes over the lock of a process that has ended. Processes are identified by id and start time, so the lock does not
 * work between containers that share a folder.
 * The folder is accessible to this user only, regardless of the umask; PGlite sets the modes of the files in it.
 * @throws StartupError if a process uses the folder, another engine version wrote it, or it cannot be written or made
 * private; the folder is unchanged then
 */
export async function acquireDataFolder(folder: string): Promise<DataFolder> {
  return withFolderErrors(folder, async () => {
    await makeDataDir(dirname(folder));
    await makePrivateFolder(folder, async () => findUnknownName(await readdir(folder)));
    const release = await lock(folder);
    try {
      await requireVersion(folder);
    } catch (error) {
      await release();
      throw error;
    }
    return { openFiles: (open) => openFiles(folder, open), release };
  });
}

/**
 * Locks a folder for removal, regardless of its engine version. Returns undefined if it does not exist.
 * @throws StartupError if a process uses the folder, it contains unknown files, or it cannot be written; the folder is
 * unchanged then
 */
export async function acquireForRemoval(folder: string): Promise<RemovableFolder | undefined> {
  return withFolderErrors(folder, async () => {
    const stats = await lstat(folder).catch(ignoreMissing);
    if (stats === undefined) return undefined;
    if (!stats.isDirectory()) throw notADataFolder(folder, 'it is not a folder');
    const names = await readdir(folder);
    const unknownName = findUnknownName(names);
    if (unknownName !== undefined) throw notADataFolder(folder, `it contains ${unknownName}`);
    // A process that was killed at startup leaves only the lock, or an empty folder.
    if (names.includes(filesName) && !names.includes(versionName))
      throw notADataFolder(folder, `it does not contain ${versionName}`);
    const release = await lock(folder);
    return { release, remove: () => withFolderErrors(folder, () => remove(folder, release)) };
  });
}

/** Returns the id of the running process that uses the folder, or undefined. */
export async function dataFolderUser(folder: string): Promise<number | undefined> {
  return withFolderErrors(folder, async () => {
    const holder = await readIfExists(join(folder, lockName));
    return holder !== undefined && (await isAlive(holder)) ? pidOf(holder) : undefined;
  });
}

/** Returns the first name that a data folder does not contain; undefined if there is none. */
function findUnknownName(names: readonly string[]): string | undefined {
  return names.find(
    (name) => ![versionName, filesName, initializingName].includes(name) && !lockFiles.test(name),
  );
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(ignoreMissing)) !== undefined;
}

async function isDataFolder(path: string): Promise<boolean> {
  // Fails for a file.
  const names = await readdir(path).catch((): string[] => []);
  return names.includes(versionName) && findUnknownName(names) === undefined;
}

async function requireVersion(folder: string): Promise<void> {
  const file = join(folder, versionName);
  // A power loss can leave the file empty.
  const written = (await readIfExists(file))?.trim() || undefined;
  if (written === engineVersion) return;
  if (written === undefined) return writeFile(file, `${engineVersion}\n`);
  throw new StartupError(
    `${folder} was written by PostgreSQL ${written}, but this version uses ${engineVersion}. Use the version that wrote it, or delete the data with npm run reset`,
    78,
  );
}

async function openFiles<T>(folder: string, open: (path: string) => Promise<T>): Promise<T> {
  const path = join(folder, filesName);
  const initializing = join(folder, initializingName);
  await withFolderErrors(folder, async () => {
    if (await exists(initializing)) await rm(path, { recursive: true, force: true });
    else if (!(await exists(path))) await writeFile(initializing, '');
  });
  const opened = await open(path);
  await rm(initializing, { force: true });
  return opened;
}

/** Removes files in an order that leaves a valid data folder if interrupted. Removes the lock last. */
async function remove(folder: string, release: () => Promise<void>): Promise<void> {
  await rm(join(folder, filesName), { recursive: true, force: true });
  for (const name of await readdir(folder)) {
    if (name !== lockName) await rm(join(folder, name), { force: true });
  }
  await release();
  await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
    // Another process has locked the empty folder meanwhile.
    if (error.code !== 'ENOTEMPTY') throw error;
  });
}

/** Ids of the locks that this process holds or acquires. */
const ownLockIds = new Set<string>();

/** Locks the folder. Returns a function that unlocks it. */
async function lock(folder: string): Promise<() => Promise<void>> {
  const lockId = randomUUID();
  const content = `${process.pid} ${(await readProcessStat(process.pid))?.startedAt ?? ''} ${lockId}`;
  const file = join(folder, lockName);
  const ownFile = `${file}.${lockId}`;
  ownLockIds.add(lockId);
  try {
    await writeFile(ownFile, content);
    await acquireLock(file, ownFile);
  } catch (error) {
    ownLockIds.delete(lockId);
    throw error;
  } finally {
    await rm(ownFile, { force: true });
  }

  async function unlock(): Promise<void> {
    if ((await readIfExists(file)) === content) await rm(file, { force: true });
    ownLockIds.delete(lockId);
  }
  let released: Promise<void> | undefined;
  return () => {
    released ??= unlock();
    return released;
  };
}

/**
 * Links `ownFile` as `file` in one step, so that no process reads a partial lock. A process replaces a stale lock only
 * while it holds a second lock, which is named by the hash of the stale content. If the lock has other content by then,
 * another process has replaced it, and this one starts again.
 */
async function acquireLock(file: string, ownFile: string): Promise<void> {
  for (;;) {
    try {
      return await link(ownFile, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = await readIfExists(file);
    if (holder === undefined) continue;
    if (await isAlive(holder)) {
      throw new StartupError(
        `${dirname(file)} is in use by process ${pidOf(holder)}. Stop it, or set DATA_DIR to another folder`,
      );
    }
    const takeoverFile = `${file}.${createHash('sha256').update(holder).digest('hex').slice(0, 16)}`;
    await acquireLock(takeoverFile, ownFile);
    if ((await readIfExists(file)) === holder) return rename(takeoverFile, file);
    await rm(takeoverFile);
  }
}

/**
 * Returns whether the process that wrote this lock is running. The process id is not sufficient: after a crash it can
 * be reused. In a container it usually is, because process ids start at 1 again.
 */
async function isAlive(holder: string): Promise<boolean> {
  const [, startedAt, lockId = ''] = holder.split(' ');
  const pid = pidOf(holder);
  if (pid === process.pid) return ownLockIds.has(lockId);
  if (!isRunning(pid)) return false;
  const stats = await readProcessStat(pid);
  // The process has ended since, or it is hidden.
  if (stats === undefined) return isRunning(pid);
  return !stats.ended && (!startedAt || stats.startedAt === startedAt);
}

function pidOf(holder: string): number {
  return Number.parseInt(holder, 10);
}

/** Signal 0 only checks whether the process exists; EPERM means that it does. */
function isRunning(pid: number): boolean {
  // Zero and negative numbers address process groups.
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Returns the start time of a process in ticks since boot, and whether it is a zombie (proc_pid_stat(5)). Returns
 * undefined on systems other than Linux and if processes of other users are hidden.
 */
async function readProcessStat(
  pid: number,
): Promise<{ startedAt: string | undefined; ended: boolean } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  // The second field is the name in parentheses, which can contain spaces and parentheses. The third is the state.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { startedAt: fields[22 - 3], ended: ['Z', 'X'].includes(fields[0] ?? '') };
}

async function readIfExists(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch(ignoreMissing);
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function notADataFolder(folder: string, reason: string): StartupError {
  return new StartupError(`${folder} is not a data folder of a service: ${reason}. Nothing was deleted`);
}

async function withFolderErrors<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toStartupError(error, folder);
  }
}

function toStartupError(error: unknown, folder: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new StartupError(
        `${folder} is not writable. Grant this user write access, or set DATA_DIR to another folder`,
      );
    case 'ENOTDIR':
    case 'EEXIST':
      return new StartupError(`${folder} is not a folder. Set DATA_DIR to a folder`);
    case 'ENOSPC':
      return new StartupError(
        `${folder} is on a full disk. Free some space, or set DATA_DIR to another folder`,
      );
    default:
      return error;
  }
}
