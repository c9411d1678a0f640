import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { finish } from './child-process.ts';

/**
 * Installs what a folder's lock file lists, unless that was done after the file last changed. Install scripts do not run.
 * @param what named in the line that says so
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
