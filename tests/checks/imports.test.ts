import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findImportProblems } from '../../scripts/checks/imports.ts';
import { root } from '../../scripts/lib/services.ts';

const names = ['contracts', 'chassis', 'user-service', 'order-service', 'gateway'];

describe('the imports check', () => {
  let copy: string;

  before(async () => {
    copy = await mkdtemp(join(tmpdir(), 'zerda-imports-'));
    await cp(join(root, 'packages'), join(copy, 'packages'), {
      recursive: true,
      filter: (source) => !/[\\/](\.tsbuild|node_modules)$/.test(source),
    });
    await installAs(copy);
  });

  after(() => rm(copy, { recursive: true, force: true }));

  it('passes for the packages as they are', async () => {
    assert.deepEqual(await findImportProblems(copy, ['packages']), []);
  });

  it('fails when nothing was read, which dependency-cruiser itself lets pass', async () => {
    await mkdir(join(copy, 'empty'), { recursive: true });
    assert.deepEqual(await findImportProblems(copy, ['empty']), ['dependency-cruiser read no file']);
  });

  const planted: [title: string, rule: string, files: Record<string, string>][] = [
    [
      'a service that imports another by its path',
      'services-are-apart',
      { 'order-service/src/planted.ts': "import '../../user-service/src/config.ts';\n" },
    ],
    [
      'a service that imports another by its name',
      'services-are-apart',
      { 'gateway/src/planted.ts': "import type {} from '@zerda/order-service/src/config.ts';\n" },
    ],
    [
      'two files that import each other',
      'no-cycles',
      {
        'chassis/src/planted-a.ts': "import './planted-b.ts';\n",
        'chassis/src/planted-b.ts': "import './planted-a.ts';\n",
      },
    ],
    [
      'two files whose types need each other',
      'no-cycles',
      {
        'contracts/src/planted-a.ts': "import type { B } from './planted-b.ts';\nexport type A = B | 1;\n",
        'contracts/src/planted-b.ts': "import type { A } from './planted-a.ts';\nexport type B = A | 2;\n",
      },
    ],
    [
      'chassis importing a service',
      'chassis-knows-no-service',
      { 'chassis/src/planted.ts': "import '../../gateway/src/config.ts';\n" },
    ],
    [
      'chassis importing the contract of one service',
      'chassis-knows-no-service',
      { 'chassis/src/planted.ts': "import '@zerda/contracts/orders';\n" },
    ],
    [
      'contracts importing chassis',
      'contracts-stand-alone',
      { 'contracts/src/planted.ts': "import '@zerda/chassis/failure';\n" },
    ],
    [
      'a helper of tests in code that runs',
      'test-helpers-stay-in-tests',
      { 'gateway/src/planted.ts': "import '@zerda/chassis/testing';\n" },
    ],
    [
      'an import that leads nowhere',
      'resolvable',
      { 'user-service/src/planted.ts': "import './missing.ts';\n" },
    ],
  ];

  for (const [title, rule, files] of planted) {
    it(`fails for ${title}`, async () => {
      const paths = Object.entries(files).map(([name, content]) => ({
        path: join(copy, 'packages', name),
        content,
      }));
      await Promise.all(paths.map(({ path, content }) => writeFile(path, content)));
      try {
        const problems = await findImportProblems(copy, ['packages']);
        assert.ok(problems.length > 0, 'nothing was found');
        for (const problem of problems)
          assert.match(problem, new RegExp(`^${rule}: packages/.*planted.*\\.ts -> `));
      } finally {
        await Promise.all(paths.map(({ path }) => rm(path)));
      }
    });
  }
});

/** Links the packages as npm does, ours to the copy and the others to where they are installed. */
async function installAs(copy: string): Promise<void> {
  const installed = join(root, 'node_modules');
  const folder = join(copy, 'node_modules');
  await mkdir(join(folder, '@zerda'), { recursive: true });
  await Promise.all([
    ...names.map((name) => symlink(join(copy, 'packages', name), join(folder, '@zerda', name), 'junction')),
    ...(await outsideDependencies()).map(async (name) => {
      await mkdir(join(folder, name, '..'), { recursive: true });
      await symlink(join(installed, name), join(folder, name), 'junction');
    }),
  ]);
}

async function outsideDependencies(): Promise<string[]> {
  const manifests = await Promise.all(
    ['package.json', ...names.map((name) => `packages/${name}/package.json`)].map(async (file) => {
      const { default: manifest } = (await import(join(root, file), { with: { type: 'json' } })) as {
        default: { dependencies?: object; devDependencies?: object };
      };
      return Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
    }),
  );
  return [...new Set(manifests.flat())].filter((name) => !name.startsWith('@zerda/'));
}
