import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

export interface ProgramPlan {
  readonly command: string;
  readonly args: readonly string[];
  /** URL that returns 200 once the program is ready. */
  readonly readyUrl: string;
}

export interface Program {
  readonly pid: number;
  /** Sends SIGTERM, and SIGKILL after five seconds. Resolves when the process has ended. */
  stop(): Promise<void>;
}

/** Milliseconds within which a program must be ready. */
const readyTimeoutMs = 10_000;

/**
 * Starts a program other than a Node.js script. Its output is read and discarded, so that it never blocks on a full pipe.
 * @throws Error with the last line of its output if it ends early or is not ready within 10 s
 */
export async function startProgram({ command, args, readyUrl }: ProgramPlan): Promise<Program> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      if (output.length < maxOutputLength) output += chunk.toString('latin1');
    });
  }
  let hasExited = false;
  const exited = new Promise<void>((resolve) => {
    const end = (): void => {
      hasExited = true;
      resolve();
    };
    child.once('error', end);
    child.once('exit', end);
  });
  async function stop(): Promise<void> {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await exited;
    clearTimeout(timer);
  }

  const deadline = performance.now() + readyTimeoutMs;
  while (!(await respondsWith200(readyUrl))) {
    if (hasExited || performance.now() > deadline) {
      await stop();
      throw new Error(`did not start: ${output.trim().split('\n').at(-1)}`);
    }
    await Promise.race([wait(25), exited]);
  }
  return { pid: child.pid ?? 0, stop };
}

/** Maximum number of output characters stored for the error message. */
const maxOutputLength = 4000;

async function respondsWith200(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { headers: { connection: 'close' } });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** Runs a command to its end and resolves with its stdout and stderr combined. */
export function readOutput(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve(output));
  });
}

/** Returns the path of a program, or undefined. Also searches /usr/sbin, where Debian installs nginx. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  for (const folder of folders) {
    const path = join(folder, name);
    if (await isExecutable(path)) return path;
  }
  return undefined;
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
