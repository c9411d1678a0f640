import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';

async function readJson(file: string) {
  return JSON.parse(await readFile(new URL(`competitors/${file}`, import.meta.url), 'utf8'));
}

describe('the competitors package', () => {
  it('pins exact versions', async () => {
    const { dependencies } = await readJson('package.json');
    for (const [name, version] of Object.entries(dependencies))
      assert.match(String(version), /^\d+\.\d+\.\d+$/, name);
  });

  it('has no registry URL in its lock file', async () => {
    const { packages } = await readJson('package-lock.json');
    for (const [name, entry] of Object.entries(packages))
      assert.ok(!Object.hasOwn(entry as object, 'resolved'), name);
  });
});
