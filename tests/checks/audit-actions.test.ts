import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { commonAuditActions } from '../../packages/contracts/src/audit.ts';
import { contracts } from '../../packages/contracts/src/services.ts';
import { blueprints, root } from '../../scripts/lib/services.ts';

const documented = [...contracts.map(({ audit }) => audit), commonAuditActions].flatMap(Object.keys);

/** Returns the text of all code of the system's packages, without tests. */
async function readSources(): Promise<string> {
  const packages = join(root, 'packages');
  const files = await readdir(packages, { recursive: true });
  const ofSystem = files.filter((file) => blueprints.every(({ name }) => !file.includes(name)));
  const sources = ofSystem.filter((file) => /^[\w-]+[/\\]src[/\\].*(?<!\.test)\.ts$/.test(file));
  return (await Promise.all(sources.map((file) => readFile(join(packages, file), 'utf8')))).join('\n');
}

describe('actions of audit lines', async () => {
  const used = new Set(
    [
      ...(await readSources()).matchAll(
        /\b(?:action|audit)(?::| =) [^\n]*?'([a-z-]+\.[a-z-]+)'(?:[^\n]* : '([a-z-]+\.[a-z-]+)')?/g,
      ),
    ].flatMap(([, first = [], second = []]) => [first, second].flat()),
  );

  it('are all documented', () => {
    assert.deepEqual(
      [...used].filter((action) => !documented.includes(action)),
      [],
    );
  });

  it('are all used', () => {
    assert.deepEqual(
      documented.filter((action) => !used.has(action)),
      [],
    );
  });
});
