import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findLicenseProblems } from '../../scripts/checks/licenses.ts';

describe('the licenses check', () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-licenses-'));
  });

  after(() => rm(folder, { recursive: true, force: true }));

  /** Returns the problems of a lock file that contains one package. */
  async function problemsOf(license: string | undefined, dev = false): Promise<string[]> {
    const packages = {
      '': { name: 'zerda' },
      'packages/one': { version: '0.1.0' },
      'node_modules/@zerda/one': { resolved: 'packages/one', link: true },
      'node_modules/a/node_modules/@scope/b': { version: '1.2.3', license, dev },
    };
    await writeFile(join(folder, 'package-lock.json'), JSON.stringify({ packages }));
    return findLicenseProblems(folder);
  }

  for (const license of [
    'MIT',
    'Apache-2.0 AND MIT',
    'MIT OR Apache-2.0',
    '(GPL-3.0-only OR MIT)',
    'GPL-2.0-only OR ISC',
  ]) {
    it(`passes for ${license}`, async () => {
      assert.deepEqual(await problemsOf(license), []);
    });
  }

  for (const license of [
    'GPL-3.0-only',
    'MIT AND GPL-3.0-only',
    'MPL-2.0',
    'UNLICENSED',
    '',
    undefined,
    'MIT AND (GPL-3.0-only OR ISC)',
    '(MIT OR GPL-3.0-only) AND (GPL-3.0-only OR LGPL-3.0-only)',
  ]) {
    it(`fails for ${license === '' ? 'an empty license' : (license ?? 'no license')}`, async () => {
      const [problem, ...others] = await problemsOf(license);
      assert.match(problem ?? '', /^@scope\/b 1\.2\.3: the license .* that runs in production is not/);
      assert.deepEqual(others, []);
    });
  }

  it('allows a development package to have a license that only matters when it is distributed', async () => {
    assert.deepEqual(await problemsOf('MPL-2.0', true), []);
    assert.match((await problemsOf('GPL-3.0-only', true))[0] ?? '', /of a development package is not/);
  });
});
