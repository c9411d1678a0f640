import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { logFields } from './catalog.ts';

const packages = fileURLToPath(new URL('../../../', import.meta.url));

/** Returns the code of all packages, without tests and the catalog. */
async function readSources(): Promise<string> {
  const files = await readdir(packages, { recursive: true });
  const sources = files.filter(
    (file) =>
      /\/src\/.*(?<!\.test)\.ts$/.test(file) &&
      !file.endsWith('logging/catalog.ts') &&
      !file.includes('node_modules'),
  );
  return (await Promise.all(sources.map((file) => readFile(join(packages, file), 'utf8')))).join('\n');
}

describe('catalog of log fields', () => {
  it('has no field that the code does not use', { skip: process.platform === 'win32' }, async () => {
    const sources = await readSources();
    assert.deepEqual(
      Object.keys(logFields).filter((name) => !new RegExp(`\\b${name}\\b`).test(sources)),
      [],
    );
  });

  it('describes each field with a sentence', () => {
    for (const [name, description] of Object.entries(logFields)) assert.match(description, /^\S.*\.$/, name);
  });
});
