import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type System, startSystem } from '../system/lib/system.ts';

/** The user and the group that own nothing. */
const nobody = 65_534;
/** The one byte of a file that every user may read. */
const control = '!';

describe('another user of the machine', () => {
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

  async function createControl(): Promise<string> {
    await chmod(folder, 0o755);
    const path = join(folder, 'control');
    await writeFile(path, control);
    await chmod(path, 0o644);
    return path;
  }

  /** The first byte of each file that the user can read, and the exit code: 1 when they could not read one. */
  function readAsNobody(paths: readonly string[]): Promise<{ code: unknown; text: string }> {
    return new Promise((resolve) => {
      execFile('head', ['-qc', '1', ...paths], { uid: nobody, gid: nobody }, (error, text) =>
        resolve({ code: error?.code ?? 0, text }),
      );
    });
  }

  const isRoot = { skip: process.getuid?.() !== 0 && 'only root can act as another user' };
  it('reads neither rows, passwords nor secrets of the embedded databases', isRoot, async () => {
    const files = await readdir(system.dataDir, { recursive: true, withFileTypes: true });
    const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
    const secrets = paths.filter((path) => path.endsWith('secrets.json'));
    const rows = paths.filter((path) => path.includes('pg_wal'));
    assert.ok(secrets.length > 0 && rows.length > 0);
    const some = [...new Set([...secrets, ...rows, ...paths])].slice(0, 2000);
    // Read last, it shows that the user could read, and got that far.
    const { code, text } = await readAsNobody([...some, await createControl()]);
    assert.equal(text, control);
    assert.equal(code, 1);
  });
});
