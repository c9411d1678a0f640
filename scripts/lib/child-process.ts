import type { ChildProcess } from 'node:child_process';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import type { Command } from './images.ts';

/**
 * Waits until a process has ended and its output is read. Returns its exit code, 1 if a signal ended it.
 * @throws the error of `spawn` if it cannot be started
 */
export function exitCodeOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

/** Waits as `exitCodeOf` does. @throws StartupError with the name of the command if its exit code is not 0 */
export async function finish(child: ChildProcess, [file, subcommand]: Command): Promise<void> {
  const code = await exitCodeOf(child);
  const name = [file, subcommand].filter(Boolean).join(' ');
  if (code !== 0) throw new StartupError(`${name} failed with exit code ${code}.`);
}
