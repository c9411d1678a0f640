import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { finish } from './child-process.ts';

/**
 * Installs the packages of a folder's lock file if the file has changed since the last installation. Does not run install
 * scripts.
 * @param what name of the packages in the printed line
 * @throws StartupError when npm fails
 */
export async function installLocked(folder: string, what: string): Promise<void> {
  const changedAt = async (file: string): Promise<number> =>
    (await stat(join(folder, file)).catch(() => undefined))?.mtimeMs ?? 0;
  const [locked, installed] = await Promise.all([
    changedAt('package-lock.json'),
    changedAt('node_modules/.package-lock.json'),
  ]);
  if (installed > locked) return;
  console.log(`installing ${what}`);
  const command = ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund'] as const;
  const [file, ...args] = command;
  const child = spawn(file, args, {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    // On Windows npm is a batch file.
    shell: process.platform === 'win32',
  });
  await finish(child, command);
}
