import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type System, startSystem } from '../system/lib/system.ts';

/** The user and the group that own nothing. */
const nobody = 65_534;

describe('another user of the machine', () => {
  let system: System;
  before(async () => {
    system = await startSystem({ AUTH: 'required' });
  });
  after(() => system?.close());

  const isRoot = { skip: process.getuid?.() !== 0 && 'only root can act as another user' };
  it('reads neither rows, passwords nor secrets of the embedded databases', isRoot, async () => {
    const files = await readdir(system.dataDir, { recursive: true, withFileTypes: true });
    const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
    assert.ok(paths.some((path) => path.includes('pg_wal')));
    assert.ok(paths.some((path) => path.endsWith('secrets.json')));
    const read = await new Promise<string>((resolve) => {
      execFile('head', ['-qc', '1', ...paths.slice(0, 2000)], { uid: nobody, gid: nobody }, (_error, text) =>
        resolve(text),
      );
    });
    assert.equal(read, '');
  });
});
