import { closeSync, existsSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A file of lines with a maximum size: when it is full, it replaces the previous one. */
export interface BoundedFile {
  /** Adds a line. It is written within 100 ms, or when the process exits. */
  add(line: string): void;
  close(): void;
}

/** Maximum size of each of the two files in bytes; 8 MiB. */
const maxFileBytes = 8 * 1024 * 1024;

/** Maximum time in milliseconds that a line is buffered, and maximum characters in the buffer. */
const batchMs = 100;
const batchLength = 64 * 1024;

/** Returns the path of the previous file. */
function previousOf(path: string): string {
  return `${path}.1`;
}

/**
 * Opens a bounded file that only the current user can read. Existing lines stay.
 * @param onError called once if writing fails, for example on a full disk; further lines are discarded
 * @param maxBytes maximum size of the file and of the previous one, in bytes; 8 MiB by default
 */
export function openBoundedFile(
  path: string,
  onError: (error: Error) => void,
  maxBytes = maxFileBytes,
): BoundedFile {
  let descriptor: number | undefined;
  let size = 0;
  let batch = '';
  let timer: NodeJS.Timeout | undefined;
  let failed = false;

  function open(): number {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const opened = openSync(path, 'a', 0o600);
    size = fstatSync(opened).size;
    return opened;
  }

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    const lines = Buffer.from(batch);
    batch = '';
    if (failed || lines.length === 0) return;
    try {
      descriptor ??= open();
      if (size > 0 && size + lines.length > maxBytes) {
        closeSync(descriptor);
        renameSync(path, previousOf(path));
        descriptor = open();
      }
      size += writeSync(descriptor, lines);
    } catch (error) {
      failed = true;
      onError(error as Error);
    }
  }

  process.on('exit', flush);
  return {
    add(line) {
      batch += `${line}\n`;
      if (batch.length >= batchLength) flush();
      else timer ??= setTimeout(flush, batchMs).unref();
    },
    close() {
      flush();
      process.off('exit', flush);
      if (descriptor !== undefined) closeSync(descriptor);
    },
  };
}

/** Returns the lines of a bounded file, oldest first; undefined if it does not exist. */
export async function readBoundedFile(path: string): Promise<string[] | undefined> {
  const files = [previousOf(path), path].filter((file) => existsSync(file));
  if (files.length === 0) return undefined;
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  return texts.flatMap((text) => text.split('\n')).filter((line) => line !== '');
}
