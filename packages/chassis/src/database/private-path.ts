import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StartupError } from '../startup-error.ts';

/** Permissions of the group and all other users. */
const othersMask = 0o077;

/** Mode bit of folders that many users write to, such as /tmp. */
const stickyBit = 0o1000;

/** Windows uses access control lists, which a folder inherits; modes have no meaning. */
const hasModes = process.platform !== 'win32';

/**
 * Creates a folder with mode 0700, or removes the permissions of other users from an existing one. Parent folders get
 * the default mode of the umask. A symbolic link is not changed: its target must already be private.
 * @param findForeign returns a name in an existing folder which shows that it is used for something else
 * @throws StartupError 78 if the folder belongs to another user or cannot be made private
 */
export async function makePrivateFolder(
  folder: string,
  findForeign: () => Promise<string | undefined>,
): Promise<void> {
  await makeFolder(folder);
  await makePrivate(folder, 0o700, findForeign);
}

/**
 * Removes the permissions of other users from a file (mode 0600). Does nothing if the file is missing.
 * @throws StartupError 78 if the file belongs to another user or cannot be made private
 */
export async function makePrivateFile(file: string): Promise<void> {
  await makePrivate(file, 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

/**
 * Creates a folder with mode 0700, or removes the permissions of other users from an existing one if that is safe. It
 * is safe if this user owns the folder, and each entry is private or `isOurs`. Other folders, symbolic links and folders
 * with the sticky bit are not changed.
 */
export async function makePrivateUnlessShared(
  folder: string,
  isOurs: (path: string) => Promise<boolean>,
): Promise<void> {
  await makeFolder(folder);
  if (!hasModes) return;
  const stats = await lstat(folder);
  if (!stats.isDirectory() || !isOwnedByUser(stats) || isPrivate(stats) || (stats.mode & stickyBit) !== 0)
    return;
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const entry = await stat(path).catch(() => undefined);
    if (entry === undefined) continue;
    if (!isOwnedByUser(entry) || (!isPrivate(entry) && !(await isOurs(path)))) return;
  }
  await withoutFollowing(folder, (handle) => handle.chmod(0o700));
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

async function makePrivate(
  path: string,
  mode: number,
  findForeign: () => Promise<string | undefined> = async () => undefined,
): Promise<void> {
  if (!hasModes) return;
  const stats = await lstat(path);
  if (stats.isSymbolicLink()) {
    const target = await stat(path);
    if (isOwnedByUser(target) && isPrivate(target)) return;
    throw notPrivate(
      path,
      `is a symbolic link to ${await readlink(path)}, which other users can access`,
      mode,
    );
  }
  if (!isOwnedByUser(stats)) {
    throw new StartupError(
      `${path} belongs to another user (uid ${stats.uid}). Change its owner, or set DATA_DIR to another folder`,
      78,
    );
  }
  if (isPrivate(stats)) return;
  const name = await findForeign();
  if (name !== undefined)
    throw notPrivate(
      path,
      `is accessible to other users and contains ${name}, so its mode was not changed`,
      mode,
    );
  const changed = await withoutFollowing(path, async (handle) => {
    await handle.chmod(mode);
    return handle.stat();
  });
  // A file system without modes reports success.
  if (!isPrivate(changed))
    throw notPrivate(path, 'is accessible to other users, and its file system does not support modes', mode);
}

/** Opens a path without following a symbolic link. */
async function withoutFollowing<T>(path: string, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    return await work(handle);
  } finally {
    await handle.close();
  }
}

function isOwnedByUser({ uid }: Stats): boolean {
  return uid === process.geteuid?.();
}

function isPrivate({ mode }: Stats): boolean {
  return (mode & othersMask) === 0;
}

/** @param problem predicate of the message, after the path */
function notPrivate(path: string, problem: string, mode: number): StartupError {
  return new StartupError(
    `${path} ${problem}. Run chmod ${mode.toString(8)} on it, or set DATA_DIR to another folder`,
    78,
  );
}
