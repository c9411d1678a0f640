import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findVersionProblems } from '../../scripts/checks/versions.ts';

const validFiles = {
  'package.json': { devDependencies: { typescript: '7.0.2' } },
  'packages/one/package.json': { dependencies: { zod: '4.6.7', '@zerda/two': '0.1.0' } },
  'packages/two/package.json': { dependencies: { zod: '4.6.7' } },
  'package-lock.json': {
    packages: { 'node_modules/zod': { version: '4.6.7' }, two: { resolved: 'packages/two' } },
  },
};

describe('the versions check', () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-versions-'));
  });

  after(() => rm(folder, { recursive: true, force: true }));

  async function problemsOf(files: Record<string, object>): Promise<string[]> {
    for (const [name, content] of Object.entries({ ...validFiles, ...files })) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), JSON.stringify(content));
    }
    return findVersionProblems(folder);
  }

  it('passes when every version is exact and the same everywhere', async () => {
    assert.deepEqual(await problemsOf({}), []);
  });

  for (const version of ['^4.6.7', '~4.6.7', '4.6', 'latest', '*', '>=4.6.7', 'file:../zod']) {
    it(`fails for ${version}`, async () => {
      const [problem] = await problemsOf({ 'package.json': { devDependencies: { typescript: version } } });
      assert.equal(problem, `package.json: typescript is "${version}", not an exact version`);
    });
  }

  it('fails when two packages need different versions', async () => {
    const problems = await problemsOf({ 'packages/two/package.json': { dependencies: { zod: '4.6.6' } } });
    assert.deepEqual(problems, [
      'packages/two/package.json: zod is 4.6.6, but 4.6.7 in packages/one/package.json',
    ]);
  });

  it('fails when the lock file names a registry', async () => {
    const resolved = 'https://registry.example/zod/-/zod-4.6.7.tgz';
    const problems = await problemsOf({
      'package-lock.json': { packages: { 'node_modules/zod': { resolved } } },
    });
    assert.equal(problems.length, 1);
    assert.match(problems[0] ?? '', /^package-lock\.json: node_modules\/zod is resolved to https/);
  });
});

describe('this repository', () => {
  it('has exact versions only', async () => {
    assert.deepEqual(await findVersionProblems(), []);
  });
});
