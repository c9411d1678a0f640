import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type System, startSystem } from '../kit/system.ts';

/** Id of the user and the group `nobody`. */
const nobody = 65_534;
/** Content of a file that every user may read. */
const controlContent = '!';

describe('another operating system user', () => {
  let system: System;
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-control-'));
    system = await startSystem({ AUTH: 'required' });
  });
  after(async () => {
    await system?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Creates the file that every user may read. Resolves with its path. */
  async function createControlFile(): Promise<string> {
    await chmod(folder, 0o755);
    const path = join(folder, 'control');
    await writeFile(path, controlContent);
    await chmod(path, 0o644);
    return path;
  }

  /** Reads the first byte of each file as `nobody`. The exit code is 1 if a file cannot be read. */
  function readAsNobody(paths: readonly string[]): Promise<{ code: unknown; text: string }> {
    return new Promise((resolve) => {
      execFile('head', ['-qc', '1', ...paths], { uid: nobody, gid: nobody }, (error, text) =>
        resolve({ code: error?.code ?? 0, text }),
      );
    });
  }

  const isRoot = { skip: process.getuid?.() !== 0 && 'only root can act as another user' };
  it('cannot read rows, passwords or secrets of the embedded databases', isRoot, async () => {
    const files = await readdir(system.dataDir, { recursive: true, withFileTypes: true });
    const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
    const secrets = paths.filter((path) => path.endsWith('secrets.json'));
    const rows = paths.filter((path) => path.includes('pg_wal'));
    assert.ok(secrets.length > 0 && rows.length > 0);
    const sample = [...new Set([...secrets, ...rows, ...paths])].slice(0, 2000);
    // The control file is read last, which proves that head read the whole list.
    const { code, text } = await readAsNobody([...sample, await createControlFile()]);
    assert.equal(text, controlContent);
    assert.equal(code, 1);
  });
});
