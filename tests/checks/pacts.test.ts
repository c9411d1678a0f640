import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { describeWithPact } from '../../packages/chassis/testing/pact-library.ts';
import { contracts } from '../../packages/contracts/src/services.ts';
import { findPacts, hasPactProvider } from '../../scripts/lib/pacts.ts';
import { root, services } from '../../scripts/lib/services.ts';

const run = promisify(execFile);

describe('pact files', () => {
  it('contain every event that a service receives', async () => {
    for (const { name, receives } of contracts) {
      const pacts = await findPacts(root, { consumer: name });
      const texts = await Promise.all(pacts.map(({ file }) => readFile(file, 'utf8')));
      for (const { type } of Object.values(receives?.events ?? {}))
        assert.ok(
          texts.some((text) => text.includes(`"type": "${type}"`)),
          `${name} has no pact with ${type}`,
        );
    }
  });

  it('are between services of this repository, and each provider can verify them', async () => {
    const names = new Set(services.map(({ name }) => name));
    for (const { consumer, provider, file } of await findPacts(root)) {
      assert.ok(names.has(consumer), file);
      assert.ok(await hasPactProvider(root, provider), file);
    }
  });
});

const verifyPacts = (env: NodeJS.ProcessEnv = {}) =>
  run(process.execPath, ['--import', 'tsx', 'scripts/verify-pacts.ts'], {
    cwd: root,
    env: { ...process.env, ...env },
  });

await describeWithPact('npm run verify-pacts', () => {
  it('finds that each service satisfies its consumers', async () => {
    const { stdout } = await verifyPacts();
    assert.match(stdout, /\n[1-9]\d* interactions verified, 0 broken\n$/);
  });
});

describe('npm run verify-pacts without the native library of Pact', () => {
  it('exits with code 78 and names the missing package', async () => {
    const promise = verifyPacts({ PACT_PREBUILD_PACKAGE_LOCATION: '/nonexistent' });
    await assert.rejects(promise, ({ code, stderr }: { code: number; stderr: string }) => {
      assert.equal(code, 78);
      assert.match(stderr, /^Pact did not load: .*@?pact.*Run npm ci/ms);
      return true;
    });
  });
});
