import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { root, services } from '../../scripts/lib/services.ts';

const run = promisify(execFile);
const names = services.map(({ name }) => name).sort();

describe('npm run affected', () => {
  let folder: string;
  let initial: ReadonlyMap<string, string>;

  const git = (...args: string[]) =>
    run('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.com', ...args], { cwd: folder });
  const script = (name: string, ...args: string[]) =>
    run(process.execPath, ['--import', 'tsx', `scripts/${name}.ts`, ...args], { cwd: folder });
  const affected = async (): Promise<{ services: string[]; areas: string[] }> =>
    JSON.parse((await script('affected', '--base', 'HEAD', '--json')).stdout);

  /** Builds all services and returns the hash of each bundle with its assets and manifests. */
  async function build(): Promise<ReadonlyMap<string, string>> {
    await script('build');
    return new Map(
      await Promise.all(
        names.map(async (name): Promise<[string, string]> => {
          const hash = createHash('sha256');
          for (const part of [name, join('bundled-packages', name)]) {
            const files = await readdir(join(folder, 'dist', part), { recursive: true, withFileTypes: true });
            const paths = files
              .filter((file) => file.isFile())
              .map((file) => join(file.parentPath, file.name));
            for (const path of paths.sort()) hash.update(path).update(await readFile(path));
          }
          return [name, hash.digest('hex')];
        }),
      ),
    );
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-affected-'));
    // The files of the repository as they are now, in a repository of their own.
    const { stdout } = await run('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
      cwd: root,
      maxBuffer: 16 * 1024 * 1024,
    });
    const files = stdout.split('\0').filter((file) => /^(packages|scripts)\/|^[^/]+$/.test(file));
    await run('cp', ['--parents', ...files, folder], { cwd: root });
    await linkModules(folder);
    await git('init', '--quiet');
    await git('add', '--all');
    await git('commit', '--quiet', '--message', 'first');
    initial = await build();
  });

  after(() => rm(folder, { recursive: true, force: true }));

  for (const [file, expected] of [
    ['packages/order-service/src/domain/place-order.ts', ['order-service']],
    ['packages/events/src/relay.ts', ['order-service', 'user-service']],
  ] as const) {
    it(`names the services whose bundle a change of ${file} changes, and no other bundle changes`, async () => {
      await appendFile(join(folder, file), '\nconsole.debug("changed");\n');
      try {
        const result = await affected();
        assert.deepEqual([...result.services].sort(), expected);
        const bundles = await build();
        const changed = names.filter((name) => bundles.get(name) !== initial.get(name));
        assert.deepEqual(changed, expected);
      } finally {
        await git('checkout', '--quiet', '.');
      }
    });
  }
});

/** Links the installed packages into a copy of the repository. Packages of the workspace are those of the copy. */
async function linkModules(folder: string): Promise<void> {
  const packages = await readdir(join(root, 'packages'));
  const modulesOfPackages = packages.map((name) => join('packages', name, 'node_modules'));
  for (const modules of ['node_modules', ...modulesOfPackages]) {
    const entries = await readdir(join(root, modules)).catch(() => []);
    if (entries.length > 0) await mkdir(join(folder, modules));
    for (const entry of entries.filter((name) => name !== '@zerda'))
      await symlink(join(root, modules, entry), join(folder, modules, entry));
  }
  await mkdir(join(folder, 'node_modules/@zerda'));
  for (const name of packages)
    await symlink(join(folder, 'packages', name), join(folder, 'node_modules/@zerda', name));
}
