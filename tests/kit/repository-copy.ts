import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { captureOutput } from '../../scripts/lib/child-process.ts';
import { linkModules } from '../../scripts/lib/link-modules.ts';
import { root } from '../../scripts/lib/services.ts';

const run = promisify(execFile);

/** A copy of the repository's files as they are now, committed to a git repository of its own. */
export interface RepositoryCopy {
  readonly folder: string;
  git(...args: readonly string[]): Promise<unknown>;
  /** Runs a line in bash and returns its output. @throws StartupError with the output if it fails */
  run(line: string, env?: NodeJS.ProcessEnv): Promise<string>;
  /** Runs `scripts/<name>.ts` of the copy, and returns its exit code and output. */
  script(name: string, ...args: readonly string[]): Promise<ScriptResult>;
  /** Replaces a text in a file. @throws Error if the file does not contain it */
  replace(file: string, text: string, replacement: string): Promise<void>;
  remove(): Promise<void>;
}

export interface ScriptResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Creates a copy with installed packages.
 * @param folders folders in addition to `packages`, `scripts` and the files in the root; `all` copies the whole repository and installs its
 * packages, so that commands can change them. By default they are shared.
 */
export async function copyRepository(folders: readonly string[] | 'all' = []): Promise<RepositoryCopy> {
  const folder = await mkdtemp(join(tmpdir(), 'zerda-copy-'));
  const git = (...args: readonly string[]) =>
    run('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.com', ...args], { cwd: folder });
  const { stdout } = await run('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: root,
    maxBuffer: 16 * 1024 * 1024,
  });
  const copied = ['packages', 'scripts', ...(folders === 'all' ? [] : folders)];
  const files = stdout
    .split('\0')
    .filter(
      (file) =>
        file !== '' &&
        (folders === 'all' || !file.includes('/') || copied.some((name) => file.startsWith(`${name}/`))),
    );
  await run('cp', ['--parents', ...files, folder], { cwd: root });
  const runLine = (line: string, env: NodeJS.ProcessEnv = {}) =>
    captureOutput(['bash', '-ec', line], {
      cwd: folder,
      // The commands may run tests of their own.
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env },
    });
  if (folders === 'all') await runLine('npm ci --prefer-offline --no-audit --no-fund --ignore-scripts');
  else await linkModules(folder);
  await git('init', '--quiet');
  await git('add', '--all');
  await git('commit', '--quiet', '--message', 'first');
  return {
    folder,
    git,
    run: runLine,
    async script(name, ...args) {
      const command = ['--import', 'tsx', `scripts/${name}.ts`, ...args];
      return run(process.execPath, command, { cwd: folder, maxBuffer: 16 * 1024 * 1024 }).then(
        (output) => ({ code: 0, ...output }),
        (error: ScriptResult) => error,
      );
    },
    async replace(file, text, replacement) {
      const path = join(folder, file);
      const content = await readFile(path, 'utf8');
      if (!content.includes(text)) throw new Error(`${file} does not contain ${text}`);
      await writeFile(path, content.replaceAll(text, replacement));
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
