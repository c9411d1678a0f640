import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { root } from '../../scripts/lib/services.ts';

const page = readFileSync(join(root, 'docs/security.md'), 'utf8');

/** Rows of the tables, without headers and separators. */
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (property|risk) \|/.test(line) && !line.startsWith('|--'));

/** Returns the path of a test that the page names. */
function fileOf(name: string): string {
  if (/^(tests|scripts)\//.test(name)) return join(root, name);
  const [service = '', ...path] = name.split('/');
  return join(root, 'packages', service, 'src', ...path);
}

it('names a test for every property in docs/security.md', () => {
  assert.ok(rows.length > 40, `${rows.length} rows`);
  for (const row of rows) assert.match(row, /`[\w./-]+\.test\.ts`/, row);
});

it('names only tests that exist in docs/security.md', () => {
  const named = [...page.matchAll(/`([\w./-]+\.test\.ts)`/g)].map(([, name = '']) => name);
  const missing = named.filter((name) => !existsSync(fileOf(name)));
  assert.deepEqual([...new Set(missing)], []);
});
