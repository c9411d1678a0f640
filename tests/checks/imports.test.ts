import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { findImportProblems } from '../../scripts/checks/imports.ts';
import { root } from '../../scripts/lib/services.ts';

const names = ['contracts', 'chassis', 'upstream', 'events', 'user-service', 'order-service', 'gateway'];

describe('the imports check', () => {
  let copy: string;

  before(async () => {
    copy = await mkdtemp(join(tmpdir(), 'zerda-imports-'));
    await cp(join(root, 'packages'), join(copy, 'packages'), {
      recursive: true,
      filter: (source) => !/[\\/](\.tsbuild|node_modules)$/.test(source),
    });
    await linkPackages(copy);
  });

  after(() => rm(copy, { recursive: true, force: true }));

  it('passes for the current packages', async () => {
    assert.deepEqual(await findImportProblems(copy, ['packages']), []);
  });

  it('fails when no file was read, which dependency-cruiser itself accepts', async () => {
    await mkdir(join(copy, 'empty'), { recursive: true });
    assert.deepEqual(await findImportProblems(copy, ['empty']), ['dependency-cruiser read no file']);
  });

  const planted: [title: string, rule: string, files: Record<string, string>][] = [
    [
      'a service that imports another by its path',
      'services-do-not-import-services',
      { 'order-service/src/planted.ts': "import '../../user-service/src/config.ts';\n" },
    ],
    [
      'a service that imports another by its name',
      'services-do-not-import-services',
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
      'chassis-does-not-import-services',
      { 'chassis/src/planted.ts': "import '../../gateway/src/config.ts';\n" },
    ],
    [
      'chassis importing the contract of one service',
      'chassis-does-not-import-services',
      { 'chassis/src/planted.ts': "import '@zerda/contracts/order-service/orders';\n" },
    ],
    [
      'upstream importing events',
      'upstream-and-events-import-only-chassis',
      { 'upstream/src/planted.ts': "import '@zerda/events/outbox';\n" },
    ],
    [
      'events importing a service',
      'upstream-and-events-import-only-chassis',
      { 'events/src/planted.ts': "import '../../order-service/src/config.ts';\n" },
    ],
    [
      'chassis importing upstream',
      'chassis-does-not-import-services',
      { 'chassis/src/planted.ts': "import '@zerda/upstream/upstream';\n" },
    ],
    [
      'contracts importing chassis',
      'contracts-do-not-import-packages',
      { 'contracts/src/planted.ts': "import '@zerda/chassis/failure';\n" },
    ],
    [
      'a helper of tests in code that runs',
      'test-helpers-only-in-tests',
      { 'gateway/src/planted.ts': "import '@zerda/chassis/testing/wait';\n" },
    ],
    [
      'a use case that imports its store',
      'domain-imports-no-adapters',
      { 'order-service/src/domain/planted.ts': "import type {} from '../store/order-store.ts';\n" },
    ],
    [
      'a use case that imports its handlers',
      'domain-imports-no-adapters',
      { 'user-service/src/domain/planted.ts': "import '../http/user-handlers.ts';\n" },
    ],
    [
      'a use case that imports the HTTP of chassis',
      'domain-imports-no-adapters',
      { 'order-service/src/domain/planted.ts': "import type {} from '@zerda/chassis/http/entity-tag';\n" },
    ],
    [
      'a use case that imports event subscriptions',
      'domain-imports-no-adapters',
      { 'order-service/src/domain/planted.ts': "import '../events/user-subscriptions.ts';\n" },
    ],
    [
      'a store that imports the HTTP of chassis',
      'store-imports-no-http',
      { 'user-service/src/store/planted.ts': "import type {} from '@zerda/chassis/http/success';\n" },
    ],
    [
      'a store that imports handlers',
      'store-imports-no-http',
      { 'order-service/src/store/planted.ts': "import type {} from '../http/order-handlers.ts';\n" },
    ],
    [
      'OpenTelemetry outside of its exporter',
      'opentelemetry-only-in-its-exporter',
      { 'events/src/planted.ts': "import '@opentelemetry/api';\n" },
    ],
    [
      'an import of the tracer at startup',
      'tracer-is-loaded-on-demand',
      { 'gateway/src/planted.ts': "import '@zerda/chassis/tracing/recording-tracer';\n" },
    ],
    [
      'an import of a missing file',
      'no-unresolved-imports',
      { 'user-service/src/planted.ts': "import './missing.ts';\n" },
    ],
  ];

  describe('with forbidden imports, all in one run, because each run reads every file', () => {
    let problems: string[];

    before(async () => {
      const paths = planted.flatMap(([, , files], index) =>
        Object.entries(files).map(([name, content]) => ({
          path: join(copy, 'packages', numbered(name, index)),
          content: numbered(content, index),
        })),
      );
      await Promise.all(paths.map(({ path, content }) => writeFile(path, content)));
      problems = await findImportProblems(copy, ['packages']);
      await Promise.all(paths.map(({ path }) => rm(path)));
    });

    for (const [index, [title, rule]] of planted.entries()) {
      it(`fails for ${title}`, () => {
        const found = problems.filter((problem) => problem.includes(numbered('planted', index)));
        assert.ok(found.length > 0, 'no problem was found');
        for (const problem of found)
          assert.match(problem, new RegExp(`^${rule}: packages/.*-planted.*\\.ts -> `));
      });
    }
  });
});

/** Gives the files of each case their own names. */
function numbered(text: string, index: number): string {
  return text.replaceAll('planted', `case-${index}-planted`);
}

/** Links the packages as npm does: this repository's to the copy, third-party packages to where they are installed. */
async function linkPackages(copy: string): Promise<void> {
  const installed = join(root, 'node_modules');
  const folder = join(copy, 'node_modules');
  await mkdir(join(folder, '@zerda'), { recursive: true });
  await Promise.all([
    ...names.map((name) => symlink(join(copy, 'packages', name), join(folder, '@zerda', name), 'junction')),
    ...(await thirdPartyDependencies()).map(async (name) => {
      await mkdir(join(folder, name, '..'), { recursive: true });
      await symlink(join(installed, name), join(folder, name), 'junction');
    }),
  ]);
}

async function thirdPartyDependencies(): Promise<string[]> {
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
