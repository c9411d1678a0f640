import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { PGlite } from '@electric-sql/pglite';
import type { Filesystem } from '@electric-sql/pglite/basefs';

/** A file or folder in an archive. */
interface ArchiveEntry {
  /** Relative, with `/` between the parts. */
  readonly path: string;
  /** Undefined for a folder. */
  readonly content: Uint8Array | undefined;
}

/** Permissions that PostgreSQL requires of its files: access of this user only. */
const [fileMode, folderMode] = [0o600, 0o700];

/**
 * Writes the files of a database cluster into a folder. PGlite would write them through its file system in WebAssembly, which takes
 * three times the CPU.
 * @param cluster tar archive
 */
export function writeClusterFiles(cluster: Uint8Array, folder: string): void {
  mkdirSync(folder, { recursive: true, mode: folderMode });
  const folders = new Set([folder]);
  const makeFolder = (path: string): void => {
    if (folders.has(path)) return;
    mkdirSync(path, { recursive: true, mode: folderMode });
    folders.add(path);
  };
  for (const { path, content } of entriesOf(cluster)) {
    const target = join(folder, path);
    makeFolder(content === undefined ? target : dirname(target));
    if (content !== undefined) writeFileSync(target, content, { mode: fileMode });
  }
}

/**
 * Returns a file system in memory with the files of a database cluster.
 * @param cluster tar archive, which stays unchanged
 */
export async function openClusterInMemory(cluster: Uint8Array): Promise<Filesystem> {
  // Loaded on demand, because production images do not contain it.
  const [{ EmscriptenBuiltinFilesystem }, { PGlite }] = await Promise.all([
    import('@electric-sql/pglite/basefs'),
    import('@electric-sql/pglite'),
  ]);
  return new (class extends EmscriptenBuiltinFilesystem {
    override async initialSyncFs(): Promise<void> {
      const { FS } = (this.pg as PGlite).Module;
      FS.mkdirTree(PGlite.paths.PGDATA, folderMode);
      // One copy for all files, which become parts of it. `slice` of a Buffer would not copy.
      for (const { path, content } of entriesOf(new Uint8Array(cluster))) {
        const target = `${PGlite.paths.PGDATA}/${path}`;
        if (content !== undefined) FS.writeFile(target, content, { mode: fileMode, canOwn: true });
        else if (!FS.analyzePath(target).exists) FS.mkdir(target, folderMode);
      }
    }

    override async closeFs(): Promise<void> {
      (this.pg as PGlite).Module.FS.quit();
    }
  })();
}

/** Bytes of a header, and the unit of the size of an entry (POSIX.1-2017, pax, ustar Interchange Format). */
const blockBytes = 512;

/** Returns the files and folders of a tar archive with short names. Their contents are parts of the archive. */
function* entriesOf(archive: Uint8Array): Generator<ArchiveEntry> {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  for (let start = 0; start + blockBytes <= bytes.length && bytes[start] !== 0; ) {
    const text = (from: number, length: number): string =>
      bytes.toString('latin1', start + from, start + from + length).replace(/\0.*$/s, '');
    const size = Number.parseInt(text(124, 12), 8);
    const isFolder = text(156, 1) === '5';
    const contentStart = start + blockBytes;
    const path = text(0, 100).replace(/^(\.?\/)+|\/$/g, '');
    if (path !== '' && path !== '.')
      yield { path, content: isFolder ? undefined : bytes.subarray(contentStart, contentStart + size) };
    start = contentStart + Math.ceil(size / blockBytes) * blockBytes;
  }
}
