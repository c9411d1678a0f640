import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { captureOutput } from '../../scripts/lib/child-process.ts';
import { root } from '../../scripts/lib/services.ts';

describe('README of a package', () => {
  for (const name of ['chassis', 'events', 'upstream']) {
    it(`has an example for ${name} that prints the documented output`, async () => {
      const text = await readFile(join(root, 'packages', name, 'README.md'), 'utf8');
      const [, code, output] = /^```ts\n(.*?)^```\n+```text\n(.*?)^```$/ms.exec(text) ?? [];
      assert.ok(code && output);
      const command: [string, ...string[]] = [
        process.execPath,
        '--import',
        'tsx',
        '--input-type=module',
        '--eval',
        code,
      ];
      assert.equal(await captureOutput(command, { cwd: root }), output);
    });
  }
});
