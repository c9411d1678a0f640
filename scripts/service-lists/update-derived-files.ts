import { spawnSync } from 'node:child_process';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { root } from '../lib/services.ts';

/**
 * Updates what follows from changed sources: the lock file, the format of the changed files, and generated files.
 * @param files changed files that exist
 * @throws StartupError if a command fails
 */
export async function updateDerivedFiles(files: readonly string[]): Promise<void> {
  runNpm(['install', '--prefer-offline', '--no-audit', '--no-fund']);
  const formatted = files.filter((file) => /\.(?:ts|json)$/.test(file));
  runNpm(['exec', '--', 'biome', 'check', '--write', ...formatted]);
  runNpm(['run', 'generate']);
}

function runNpm(args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync('npm', args, {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (status !== 0) throw new StartupError(`npm ${args.slice(0, 2).join(' ')} failed:\n${stdout}${stderr}`);
}
