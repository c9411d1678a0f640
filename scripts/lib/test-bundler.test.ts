import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { captureOutput } from './child-process.ts';
import { root } from './services.ts';
import { bundledTest, bundleTests } from './test-bundler.ts';

describe('bundled test files', () => {
  let folder: string;
  let file: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-test-bundler-'));
    file = relative(root, join(folder, 'a.test.ts'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function run(source: string): Promise<string> {
    await writeFile(join(folder, 'a.test.ts'), source);
    const bundles = join(folder, 'bundles');
    await bundleTests([file], bundles);
    return captureOutput([process.execPath, '--enable-source-maps', bundledTest(file, bundles)]);
  }

  it('have the URL of their source', async () => {
    const output = await run('console.log(import.meta.url as string);');
    assert.equal(output.trim(), pathToFileURL(join(folder, 'a.test.ts')).href);
  });

  it('report errors at the line of the source, with the names of classes', async () => {
    const shared = join(folder, 'error.ts');
    await writeFile(shared, 'interface Unused {}\n\nexport class Failure extends Error {}\n');
    const output = await run(
      "import { Failure } from './error.ts';\ninterface Unused {}\nclass Other { Failure = Failure }\n" +
        'console.log(new Other().Failure.name, Other.name, new Failure().stack, import.meta.url);',
    );
    assert.match(output, /^Failure Other /);
    assert.ok(output.includes(`${join(folder, 'a.test.ts')}:4:`), output);
  });

  it('import the version of an npm package that is installed for the importing file', async () => {
    for (const [parent, version] of [
      ['.', 1],
      ['nested', 2],
    ] as const) {
      const installed = join(folder, parent, 'node_modules/versioned');
      await mkdir(installed, { recursive: true });
      await writeFile(join(installed, 'package.json'), '{ "name": "versioned", "main": "index.js" }');
      await writeFile(join(installed, 'index.js'), `module.exports = ${version};`);
      await writeFile(join(folder, parent, 'importer.ts'), "export { default } from 'versioned';");
    }
    const output = await run(
      "import one from './importer.ts';\nimport two from './nested/importer.ts';\nconsole.log(one, two);",
    );
    assert.equal(output.trim(), '1 2');
  });
});
