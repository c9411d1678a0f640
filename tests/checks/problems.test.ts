import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { problemCodes } from '../../packages/contracts/src/problems.ts';
import { root } from '../../scripts/lib/services.ts';

/** Returns the sources of all packages except contracts, without tests and their helpers. */
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

// The compiler checks that only listed types are thrown; documents.test.ts checks the OpenAPI documents.
it('every problem type in the table is used in the code', async () => {
  const code = await sources();
  const unknown = problemCodes.filter((problem) => !code.includes(`'${problem}'`));
  assert.deepEqual(unknown, []);
});
