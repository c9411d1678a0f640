import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { describe, it } from 'node:test';
import { root } from './services.ts';
import { findPrograms, findTests } from './test-files.ts';

describe('test discovery', () => {
  it('finds the tests of packages and scripts, system tests first, and skips tests that run only on request', async () => {
    const { parallel, sequential } = await findTests([]);
    assert.ok(parallel.includes(join('scripts', 'lib', 'test-files.test.ts')));
    const systems = parallel.filter((file) => file.startsWith(join('tests', 'system')));
    assert.ok(systems.includes(join('tests', 'system', 'specification.test.ts')));
    assert.deepEqual(parallel.slice(0, systems.length), systems);
    assert.deepEqual(sequential, []);
    for (const file of parallel) {
      assert.doesNotMatch(
        file,
        /node_modules|[\\/]dist[\\/]|tests[\\/](attack|compose|contract|e2e|repository|faults[\\/]mutants)/,
      );
      assert.match(file, /\.test\.ts$/);
    }
  });

  it('finds only tests in the given paths, each once', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-tests-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    await mkdir(join(folder, 'node_modules'));
    for (const name of ['a.test.ts', 'a.ts', join('node_modules', 'b.test.ts')]) {
      await writeFile(join(folder, name), '');
    }
    const expected = relative(root, join(folder, 'a.test.ts'));
    assert.deepEqual((await findTests([folder, join(folder, 'a.test.ts')])).parallel, [expected]);
  });

  it('runs attacks one at a time', async () => {
    const { parallel, sequential } = await findTests([join('tests', 'attack')]);
    assert.deepEqual(parallel, []);
    assert.ok(sequential.includes(join('tests', 'attack', 'races.test.ts')));
  });

  it('finds the programs of tests', async () => {
    const programs = await findPrograms();
    assert.ok(programs.includes(join('packages', 'chassis', 'testing', 'service-process.ts')));
    for (const program of programs) assert.ok(existsSync(join(root, program)), program);
  });

  it('rejects a path that does not exist', async () => {
    await assert.rejects(findTests(['packages/nowhere']), /The path packages\/nowhere does not exist\./);
  });
});
