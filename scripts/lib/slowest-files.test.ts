import assert from 'node:assert/strict';
import { it } from 'node:test';
import { formatSlowestFiles } from './slowest-files.ts';

async function* events() {
  const end = (type: string, file: string, ms: number, name = `/zerda/${file}`) => ({
    type,
    data: { file: `/zerda/${file}`, name, nesting: 0, details: { duration_ms: ms } },
  });
  yield end('test:dequeue', 'a.test.ts', 1);
  yield end('test:complete', 'a.test.ts', 9000, 'a test at the top of the file');
  yield end('test:complete', 'a.test.ts', 3000);
  yield end('test:complete', 'b.test.mjs', 2500);
  yield end('test:complete', 'c.test.ts', 10);
}

it('lists the slowest files first', async () => {
  const { default: reportDurations } = await import(new URL('duration-reporter.mjs', import.meta.url).href);
  let lines = '';
  for await (const line of reportDurations(events())) lines += line;
  assert.equal(formatSlowestFiles(lines, '/zerda', 2), '    3.0 s  a.test.ts\n    2.5 s  b.test.ts');
});
