import { type ChildProcess, spawn } from 'node:child_process';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import type { Command } from './images.ts';
import { root } from './services.ts';

/**
 * Waits until a process has ended and its output has been read. Returns its exit code, or 1 if a signal ended it.
 * @throws the error of `spawn` if the process cannot be started
 */
export function exitCodeOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

/** Waits until a process has ended. @throws StartupError with the name of the command if its exit code is not 0 */
export async function finish(child: ChildProcess, [file, subcommand]: Command): Promise<void> {
  const code = await exitCodeOf(child);
  const name = [file, subcommand].filter(Boolean).join(' ');
  if (code !== 0) throw new StartupError(`${name} failed with exit code ${code}.`);
}

/** Runs a command with the output of this process and returns its exit code. */
export function runInForeground([file, ...args]: Command): Promise<number> {
  return exitCodeOf(spawn(file, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }));
}

/** Returns whether a command succeeds; prints nothing. */
export function commandSucceeds(command: Command): Promise<boolean> {
  return captureOutput(command).then(
    () => true,
    () => false,
  );
}

export interface CaptureOptions {
  /** Working directory; the root of the repository by default. */
  readonly cwd?: string;
  /** Complete environment; that of this process by default. */
  readonly env?: NodeJS.ProcessEnv;
  /** Standard input; none by default. */
  readonly input?: string | undefined;
}

/** Runs a command and returns its output. @throws StartupError with its error output when it fails */
export async function captureOutput(
  [file, ...args]: Command,
  { cwd = root, env = process.env, input }: CaptureOptions = {},
): Promise<string> {
  const child = spawn(file, args, {
    cwd,
    env,
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  let output = '';
  let errorOutput = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errorOutput += text;
  });
  child.stdin?.end(input);
  if ((await exitCodeOf(child)) !== 0)
    throw new StartupError(`${file} ${args.join(' ')} failed: ${`${errorOutput}${output}`.trim()}`);
  return output;
}
