import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Installs what a folder's lock file lists, unless that was done after the file last changed. Install scripts do not run.
 * @param what named in the line that says so
 * @throws Error when npm fails
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
  const child = spawn('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    // On Windows npm is a batch file.
    shell: process.platform === 'win32',
  });
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode) => resolve(exitCode ?? 1));
  });
  if (code !== 0) throw new Error(`npm ci in ${folder} ended with exit code ${code}`);
}
