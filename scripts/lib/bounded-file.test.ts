import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { openBoundedFile, readBoundedFile } from './bounded-file.ts';

describe('bounded file', () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-bounded-'));
    path = join(folder, 'logs', 'lines');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const fail = (error: Error): never => {
    throw error;
  };

  it('contains the newest lines in order, in two files of a maximum size', async () => {
    const file = openBoundedFile(path, fail, 200_000);
    const line = (index: number): string => `${index} ${'x'.repeat(90)}`;
    for (let index = 0; index < 10_000; index += 1) file.add(line(index));
    file.close();
    for (const part of [path, `${path}.1`]) assert.ok((await stat(part)).size <= 200_000);
    const lines = (await readBoundedFile(path)) ?? [];
    assert.ok(lines.length > 1_000, `${lines.length} lines`);
    assert.deepEqual(
      lines,
      lines.map((_, index) => line(10_000 - lines.length + index)),
    );
  });

  it('has a line shortly after it was added, and keeps the lines of an earlier run', async () => {
    const first = openBoundedFile(path, fail);
    first.add('first');
    first.close();
    const second = openBoundedFile(path, fail);
    second.add('second');
    await eventually(async () => assert.deepEqual(await readBoundedFile(path), ['first', 'second']));
    second.close();
  });

  it('can be read by its owner only', { skip: process.platform === 'win32' }, async () => {
    const file = openBoundedFile(path, fail);
    file.add('line');
    file.close();
    const modes = await Promise.all(
      [path, join(folder, 'logs')].map(async (name) => (await stat(name)).mode),
    );
    assert.deepEqual(
      modes.map((mode) => mode & 0o777),
      [0o600, 0o700],
    );
  });

  it('reports once that it cannot be written', async () => {
    await writeFile(join(folder, 'logs'), 'not a folder');
    const errors: Error[] = [];
    const file = openBoundedFile(path, (error) => errors.push(error));
    for (let index = 0; index < 3; index += 1) file.add('x'.repeat(100_000));
    file.close();
    assert.equal(errors.length, 1);
  });

  it('is undefined if it does not exist', async () => {
    assert.equal(await readBoundedFile(path), undefined);
  });
});
