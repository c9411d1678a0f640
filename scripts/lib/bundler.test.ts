import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { bundle, watchBundle } from './bundler.ts';
import { bundleFile } from './services.ts';

const run = promisify(execFile);

/** Creates a service in a temporary folder that prints a greeting and the names of its migrations. */
async function service(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'zerda-bundler-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const packages = join(folder, 'packages');
  const source = join(packages, 'user-service', 'src');
  const migrations = join(packages, 'user-service', 'migrations');
  await mkdir(source, { recursive: true });
  await mkdir(migrations, { recursive: true });
  await writeFile(join(migrations, '0001_first.sql'), 'select 1;');
  await writeFile(join(source, 'greeting.ts'), "export const greeting: string = 'hello';\n");
  await writeFile(
    join(source, 'main.ts'),
    `import { readdirSync } from 'node:fs';
import { greeting } from './greeting.ts';
console.log(greeting, readdirSync(new URL('../migrations/', import.meta.url)).join());
`,
  );
  const dist = join(folder, 'dist');
  return {
    folders: { packages, dist },
    file: bundleFile('user-service', dist),
    greet: (word: string) => writeFile(join(source, 'greeting.ts'), `export const greeting = '${word}';\n`),
    breakSource: () => writeFile(join(source, 'greeting.ts'), 'export const greeting = ;\n'),
    migrate: (name: string, sql: string) => writeFile(join(migrations, name), sql),
  };
}

describe('bundler', () => {
  it('creates one file that runs and finds its migrations', async (t) => {
    const { folders, file } = await service(t);
    const [made] = await bundle(['user-service'], folders);
    const { stdout } = await run(process.execPath, [file]);
    assert.equal(stdout, 'hello 0001_first.sql\n');
    assert.equal(made?.bytes, (await readFile(file)).byteLength);
    assert.match(await readFile(`${file}.map`, 'utf8'), /greeting\.ts/);
  });

  it('reports whether the code or the migrations changed', async (t) => {
    const { folders, greet, migrate, file } = await service(t);
    const changed = async () => (await bundle(['user-service'], folders))[0]?.changed;
    assert.equal(await changed(), true);
    assert.equal(await changed(), false);
    await greet('good day');
    assert.equal(await changed(), true);
    await migrate('0001_first.sql', 'select 2;');
    assert.equal(await changed(), true);
    await migrate('0002_second.sql', 'select 3;');
    assert.equal(await changed(), true);
    assert.equal((await run(process.execPath, [file])).stdout, 'good day 0001_first.sql,0002_second.sql\n');
  });

  it('is complete after several processes have bundled the same service at the same time', async (t) => {
    const { folders, migrate, file } = await service(t);
    const names = Array.from({ length: 20 }, (_, index) => `${1000 + index}.sql`);
    for (const name of names) await migrate(name, 'select 1;');
    await Promise.all(Array.from({ length: 8 }, () => bundle(['user-service'], folders)));
    await migrate('1000.sql', 'select 2;');
    await Promise.all(Array.from({ length: 8 }, () => bundle(['user-service'], folders)));
    const { stdout } = await run(process.execPath, [file]);
    assert.equal(stdout, `hello ${['0001_first.sql', ...names].join()}\n`);
    const folder = join(folders.dist, 'user-service');
    assert.equal(await readFile(join(folder, 'migrations', '1000.sql'), 'utf8'), 'select 2;');
    assert.deepEqual((await readdir(folder)).sort(), ['bin', 'migrations']);
  });

  it('removes assets that the package no longer has', async (t) => {
    const { folders, migrate, file } = await service(t);
    await migrate('0002_second.sql', 'select 2;');
    await bundle(['user-service'], folders);
    await rm(join(folders.packages, 'user-service', 'migrations', '0002_second.sql'));
    const [bundled] = await bundle(['user-service'], folders);
    assert.equal(bundled?.changed, true);
    assert.equal((await run(process.execPath, [file])).stdout, 'hello 0001_first.sql\n');
  });

  it('bundles after each change while watching, also after a source that does not compile', async (t) => {
    const { folders, greet, breakSource, migrate, file } = await service(t);
    const events: string[] = [];
    let wake = (): void => {};
    const note = (event: string): void => {
      events.push(event);
      wake();
    };
    const watcher = await watchBundle(
      'user-service',
      { onBundle: ({ changed }) => note(changed ? 'changed' : 'same'), onFailure: () => note('failed') },
      folders,
    );
    t.after(() => watcher.dispose());
    const until = async (...expected: string[]): Promise<void> => {
      while (events.length < expected.length) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      assert.deepEqual(events.splice(0), expected);
    };
    await until('changed');
    await breakSource();
    await until('failed');
    assert.match((await run(process.execPath, [file])).stdout, /^hello/);
    await greet('after the mistake');
    await until('changed');
    assert.match((await run(process.execPath, [file])).stdout, /^after the mistake/);
    await migrate('0002_second.sql', 'select 3;');
    await until('changed');
    assert.match((await run(process.execPath, [file])).stdout, /0002_second/);
  });
});
