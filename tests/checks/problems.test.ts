import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { problemCodes } from '../../packages/contracts/src/problems.ts';
import { root } from '../../scripts/lib/services.ts';

/** The sources of everything that runs and is no contract, without tests and their helpers. */
async function sources(): Promise<string> {
  const packages = join(root, 'packages');
  const files = await readdir(packages, { recursive: true });
  const code = files.filter(
    (file) =>
      /^(?!contracts)[\w-]+[\\/]src[\\/].*\.ts$/.test(file) &&
      !/(\.test|[\\/]testing[^\\/]*)\.ts$/.test(file),
  );
  return (await Promise.all(code.map((file) => readFile(join(packages, file), 'utf8')))).join('\n');
}

// That no other kind is thrown, and that the documents have the table's, is for the compiler and documents.test.ts.
it('every kind of problem in the table is one that the code knows, so that none in it is stale', async () => {
  const code = await sources();
  const unknown = problemCodes.filter((problem) => !code.includes(`'${problem}'`));
  assert.deepEqual(unknown, []);
});
