import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { captureOutput } from './child-process.ts';
import { bundledTest } from './test-bundler.ts';
import { groupTests, writeGroups } from './test-groups.ts';

describe('groups of test files', () => {
  it('contain each file once, in order, and use all processes', () => {
    const files = Array.from({ length: 45 }, (_, index) => `${index}.test.ts`);
    const groups = groupTests(files, 2);
    assert.deepEqual(groups.flat(), files);
    assert.ok(groups.every(({ length }) => length <= 20));
    assert.deepEqual(
      groupTests(files.slice(0, 3), 2).map(({ length }) => length),
      [2, 1],
    );
    assert.deepEqual(groupTests([], 2), []);
  });

  it('contain fewer files if these start the whole system', () => {
    const files = Array.from({ length: 12 }, (_, index) => `tests/system/${index}.test.ts`);
    const groups = groupTests(files, 2);
    assert.deepEqual(groups.flat(), files);
    assert.ok(groups.every(({ length }) => length <= 4));
  });

  it('run in one process with the hooks of each file for its own tests only, and report the CPU time of each', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-groups-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const source = (name: string) => `import { after, before, it } from 'node:test';
before(() => console.log('before ${name}'));
it('${name}', () => {
  console.log('${name}', process.pid);
  for (const start = process.cpuUsage(); process.cpuUsage(start).user < 20_000; );
});
after(() => console.log('after ${name}'));\n`;
    for (const name of ['first', 'second']) {
      const program = bundledTest(`lib/${name}.test.ts`, folder);
      await mkdir(dirname(program), { recursive: true });
      await writeFile(program, source(name));
    }
    const [program = ''] = await writeGroups([['lib/first.test.ts', 'lib/second.test.ts']], folder, 60_000);
    const durations = join(folder, 'durations');
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined, TEST_DURATIONS: durations };
    const output = await captureOutput([process.execPath, program], { env });
    const lines = output.split('\n').filter((line) => /^(before|after|first|second)/.test(line));
    const [pid] = lines.flatMap((line) => /\d+$/.exec(line) ?? []);
    const expected = ['first', 'second'].flatMap((name) => [
      `before ${name}`,
      `${name} ${pid}`,
      `after ${name}`,
    ]);
    assert.deepEqual(lines, expected);
    const reported = (await readFile(durations, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      reported.map(([, , file]) => file),
      ['lib/first.test.ts', 'lib/second.test.ts'],
    );
    for (const [wallMs, cpuMs] of reported)
      assert.ok(wallMs >= 20 && cpuMs >= 20, `${wallMs} ms, ${cpuMs} ms CPU`);
  });
});
