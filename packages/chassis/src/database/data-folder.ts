import { createHash, randomUUID } from 'node:crypto';
import { link, lstat, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StartupError } from '../startup-error.ts';
import { makePrivateFolder, makePrivateUnlessShared } from './private-path.ts';

/** A data folder that this process alone uses. */
export interface DataFolder {
  /** Where the engine keeps its files. */
  readonly path: string;
  /** Lets others have the folder; calls after the first do nothing. */
  release(): Promise<void>;
}

/** A data folder that nobody else can take until it is gone, or let go. */
export interface DoomedFolder {
  /** Removes the folder and all that is in it. */
  remove(): Promise<void>;
  /** Leaves the folder as it is. */
  release(): Promise<void>;
}

/** Major version of PostgreSQL that PGlite is; a folder written by another one cannot be read. */
const engineVersion = '18';

const lockName = 'lock';
const versionName = 'engine-version';
const filesName = 'files';
/** The lock, and the names beside it that are there while it is taken; a process killed just then leaves them. */
const lockFiles = new RegExp(`^${lockName}(\\.[0-9a-f-]+)*$`);

/**
 * Makes the folder that data folders are in, or takes the rights of other users from one that holds data folders and private files
 * only. One with other things in it stays as it is: each data folder is private by itself.
 */
export async function makeDataDir(dataDir: string): Promise<void> {
  await explained(dataDir, () => makePrivateUnlessShared(dataDir, isDataFolder));
}

/**
 * Takes a folder for this process: PGlite itself does not notice a second process, whose rows would vanish.
 * The lock of a process that no longer lives is taken over. Processes are told apart by id and start time, which only
 * those of one machine or container see: two containers that share a folder are not kept apart.
 * No other user can access the folder, whatever the umask: the files in it have the modes that PGlite gives them.
 * @throws StartupError when a process has it, another engine wrote it, or it cannot be written or made private; nothing in it is changed
 */
export async function acquireDataFolder(folder: string): Promise<DataFolder> {
  return explained(folder, async () => {
    await makeDataDir(dirname(folder));
    await makePrivateFolder(folder, async () => strangerAmong(await readdir(folder)));
    const release = await lock(folder);
    try {
      await requireVersion(folder);
    } catch (error) {
      await release();
      throw error;
    }
    return { path: join(folder, filesName), release };
  });
}

/**
 * Takes a folder in order to remove it, whatever engine wrote it; undefined when there is none.
 * @throws StartupError when a process has it, when something is in it that no service wrote, or when it cannot be written;
 * nothing is changed
 */
export async function acquireForRemoval(folder: string): Promise<DoomedFolder | undefined> {
  return explained(folder, async () => {
    const found = await lstat(folder).catch(ignoreMissing);
    if (found === undefined) return undefined;
    if (!found.isDirectory()) throw foreign(folder, 'it is not a folder');
    const names = await readdir(folder);
    const stranger = strangerAmong(names);
    if (stranger !== undefined) throw foreign(folder, `it has ${stranger} in it`);
    // The lock alone is what a process killed at its very start leaves, an empty folder likewise.
    if (names.includes(filesName) && !names.includes(versionName))
      throw foreign(folder, `it has no ${versionName} in it`);
    const release = await lock(folder);
    return { release, remove: () => explained(folder, () => remove(folder, release)) };
  });
}

/** Id of the living process that uses the folder; undefined when none does. */
export async function dataFolderUser(folder: string): Promise<number | undefined> {
  return explained(folder, async () => {
    const holder = await read(join(folder, lockName));
    return holder !== undefined && (await lives(holder)) ? pidOf(holder) : undefined;
  });
}

/** A name in a data folder that no service gives. */
function strangerAmong(names: readonly string[]): string | undefined {
  return names.find((name) => ![versionName, filesName].includes(name) && !lockFiles.test(name));
}

async function isDataFolder(path: string): Promise<boolean> {
  // A file has no names in it.
  const names = await readdir(path).catch((): string[] => []);
  return names.includes(versionName) && strangerAmong(names) === undefined;
}

async function requireVersion(folder: string): Promise<void> {
  const file = join(folder, versionName);
  // Empty is what the loss of power leaves of a file just written.
  const written = (await read(file))?.trim() || undefined;
  if (written === engineVersion) return;
  if (written === undefined) return writeFile(file, `${engineVersion}\n`);
  throw new StartupError(
    `${folder} was written by PostgreSQL ${written}, this is ${engineVersion}: keep using the version that wrote it, or start anew with npm run reset`,
    78,
  );
}

/** In an order that leaves a data folder wherever it is cut short; the lock goes when nothing is left to protect. */
async function remove(folder: string, release: () => Promise<void>): Promise<void> {
  await rm(join(folder, filesName), { recursive: true, force: true });
  for (const name of await readdir(folder)) {
    if (name !== lockName) await rm(join(folder, name), { force: true });
  }
  await release();
  await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
    // Somebody took the folder just now, and has an empty one.
    if (error.code !== 'ENOTEMPTY') throw error;
  });
}

/** What marks the locks that this process has, or is taking. */
const ownMarks = new Set<string>();

/** Puts this process's lock into the folder; the function it returns removes it. */
async function lock(folder: string): Promise<() => Promise<void>> {
  const mark = randomUUID();
  const content = `${process.pid} ${(await lookUp(process.pid))?.startedAt ?? ''} ${mark}`;
  const file = join(folder, lockName);
  const own = `${file}.${mark}`;
  ownMarks.add(mark);
  try {
    await writeFile(own, content);
    await take(file, own);
  } catch (error) {
    ownMarks.delete(mark);
    throw error;
  } finally {
    await rm(own, { force: true });
  }

  async function unlock(): Promise<void> {
    if ((await read(file)) === content) await rm(file, { force: true });
    ownMarks.delete(mark);
  }
  let released: Promise<void> | undefined;
  return () => {
    released ??= unlock();
    return released;
  };
}

/**
 * Makes `own` appear as `file` in one step (a hard link), so that nobody reads it half written. A stale one is replaced only
 * by who has taken the name made of its content: of many processes that find it one gets that name, and who gets it too
 * late finds another content.
 */
async function take(file: string, own: string): Promise<void> {
  for (;;) {
    try {
      return await link(own, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = await read(file);
    if (holder === undefined) continue;
    if (await lives(holder)) {
      throw new StartupError(
        `${dirname(file)} is in use by process ${pidOf(holder)}; stop it, or choose another folder with DATA_DIR`,
      );
    }
    const succession = `${file}.${createHash('sha256').update(holder).digest('hex').slice(0, 16)}`;
    await take(succession, own);
    if ((await read(file)) === holder) return rename(succession, file);
    await rm(succession);
  }
}

/**
 * Whether the process that wrote this lock still lives. Its id alone does not say: a process that was killed leaves the
 * lock, and another one may have its id by now. In a container this one does, for there ids begin anew.
 */
async function lives(holder: string): Promise<boolean> {
  const [, startedAt, mark = ''] = holder.split(' ');
  const pid = pidOf(holder);
  if (pid === process.pid) return ownMarks.has(mark);
  if (!isRunning(pid)) return false;
  const found = await lookUp(pid);
  if (found === undefined) return true;
  return !found.ended && (!startedAt || found.startedAt === startedAt);
}

function pidOf(holder: string): number {
  return Number.parseInt(holder, 10);
}

/** Signal 0 asks without sending; not being allowed to ask means there is somebody. */
function isRunning(pid: number): boolean {
  // Zero and negative numbers would ask for a group of processes.
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * What Linux tells of a process: its start in ticks since the boot, and whether it has ended and only waits for its parent
 * to notice (proc_pid_stat(5)). Undefined elsewhere, and where other users' processes are hidden.
 */
async function lookUp(pid: number): Promise<{ startedAt: string | undefined; ended: boolean } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  // The second field is the name in brackets, which can have spaces and brackets in it; the state is the third.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { startedAt: fields[22 - 3], ended: ['Z', 'X'].includes(fields[0] ?? '') };
}

async function read(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch(ignoreMissing);
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function foreign(folder: string, why: string): StartupError {
  return new StartupError(`${folder} is not a data folder of a service: ${why}. It is left alone`);
}

async function explained<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explain(error, folder);
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
