import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StartupError } from '../startup-error.ts';

/** Rights of the group and of all other users. */
const othersMask = 0o077;

/** The bit of folders that many users write to, such as /tmp. */
const stickyBit = 0o1000;

/** On Windows lists decide about access, which a folder inherits from that of its user; modes say nothing there. */
const hasModes = process.platform !== 'win32';

/**
 * Makes a folder that this user alone can access (mode 0700), or takes the rights of other users from one that exists. Folders above
 * it get the mode that the umask leaves. A symbolic link is never followed into a change: it must lead to a private folder.
 * @param findForeign returns a name in an existing folder that shows that it is used for something else too
 * @throws StartupError 78 when the folder belongs to another user, or cannot be made private
 */
export async function makePrivateFolder(
  folder: string,
  findForeign: () => Promise<string | undefined>,
): Promise<void> {
  await makeFolder(folder);
  await makePrivate(folder, 0o700, findForeign);
}

/**
 * Takes the rights of other users from a file (mode 0600); one that is missing stays missing.
 * @throws StartupError 78 when the file belongs to another user, or cannot be made private
 */
export async function makePrivateFile(file: string): Promise<void> {
  await makePrivate(file, 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

/**
 * Makes a folder that this user alone can access, or takes the rights of other users from one in which they have nothing to lose:
 * it is this user's, and each thing in it is private or `isOurs`. Any other folder, a symbolic link and a folder with the sticky bit
 * stay as they are.
 */
export async function makePrivateUnlessShared(
  folder: string,
  isOurs: (path: string) => Promise<boolean>,
): Promise<void> {
  await makeFolder(folder);
  if (!hasModes) return;
  const found = await lstat(folder);
  if (!found.isDirectory() || !isOwn(found) || isClosed(found) || (found.mode & stickyBit) !== 0) return;
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const inside = await stat(path).catch(() => undefined);
    if (inside === undefined) continue;
    if (!isOwn(inside) || (!isClosed(inside) && !(await isOurs(path)))) return;
  }
  await withItself(folder, (handle) => handle.chmod(0o700));
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
  const found = await lstat(path);
  if (found.isSymbolicLink()) {
    const target = await stat(path);
    if (isOwn(target) && isClosed(target)) return;
    throw notPrivate(path, `leads to ${await readlink(path)}, which is not this user's alone`, mode);
  }
  if (!isOwn(found)) {
    throw new StartupError(
      `${path} belongs to another user (uid ${found.uid}). Change its owner, or set DATA_DIR to another folder`,
      78,
    );
  }
  if (isClosed(found)) return;
  const name = await findForeign();
  if (name !== undefined)
    throw notPrivate(path, `can be read by other users and has ${name} in it, so it is left as it is`, mode);
  const changed = await withItself(path, async (handle) => {
    await handle.chmod(mode);
    return handle.stat();
  });
  // A file system without modes reports success.
  if (!isClosed(changed))
    throw notPrivate(path, 'can be read by other users, and its file system keeps no modes', mode);
}

/** Works on what is at a path, never on what a symbolic link leads to. */
async function withItself<T>(path: string, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    return await work(handle);
  } finally {
    await handle.close();
  }
}

function isOwn({ uid }: Stats): boolean {
  return uid === process.geteuid?.();
}

function isClosed({ mode }: Stats): boolean {
  return (mode & othersMask) === 0;
}

/** @param why predicate of the sentence that the path begins */
function notPrivate(path: string, why: string, mode: number): StartupError {
  return new StartupError(
    `${path} ${why}. Run chmod ${mode.toString(8)} on it, or set DATA_DIR to another folder`,
    78,
  );
}
