import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { captureOutput } from '../../scripts/lib/child-process.ts';
import { root } from '../../scripts/lib/services.ts';

/** A copy of the repository with installed dependencies, whose files are committed. */
export interface RepositoryCopy {
  readonly path: string;
  /** Runs a line in bash and returns its output. @throws StartupError with the output if it fails */
  run(line: string, env?: NodeJS.ProcessEnv): Promise<string>;
  remove(): Promise<void>;
}

const skipped = new Set(['node_modules', 'dist', '.git', '.data', '.tsbuild', 'coverage', 'results']);

/** Copies the files of the repository, installs the dependencies and commits everything to a new repository. */
export async function copyRepository(): Promise<RepositoryCopy> {
  const path = await mkdtemp(join(tmpdir(), 'zerda-copy-'));
  for (const entry of await readdir(root))
    if (!skipped.has(entry))
      await cp(join(root, entry), join(path, entry), {
        recursive: true,
        filter: (source) => !skipped.has(source.split(/[\\/]/).at(-1) ?? ''),
      });
  const copy: RepositoryCopy = {
    path,
    run: (line, env = {}) =>
      captureOutput(['bash', '-ec', line], {
        cwd: path,
        // The commands may run tests of their own.
        env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env },
      }),
    remove: () => rm(path, { recursive: true, force: true, maxRetries: 3 }),
  };
  await copy.run('git init --quiet && git add --all');
  await copy.run(
    'git -c user.name=test -c user.email=test@example.com commit --quiet --no-verify --message start',
  );
  await copy.run('npm ci --prefer-offline --no-audit --no-fund --ignore-scripts');
  return copy;
}
