import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

export interface ProgramPlan {
  readonly command: string;
  readonly args: readonly string[];
  /** Answers 200 once the program can be used. */
  readonly readyUrl: string;
}

export interface Program {
  readonly pid: number;
  /** SIGTERM, then SIGKILL after five seconds. Resolves when the process is gone. */
  stop(): Promise<void>;
}

/** Milliseconds that a program may take to get ready. */
const readyWithinMs = 10_000;

/**
 * Starts a program that is no script of Node; its output is read, so that it is never held up, and thrown away.
 * @throws Error with the end of its output when it ends first or is not ready in time
 */
export async function startProgram({ command, args, readyUrl }: ProgramPlan): Promise<Program> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      if (output.length < outputKept) output += chunk.toString('latin1');
    });
  }
  let gone = false;
  const exited = new Promise<void>((resolve) => {
    const end = (): void => {
      gone = true;
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

  const giveUpAt = performance.now() + readyWithinMs;
  while (!(await answers200(readyUrl))) {
    if (gone || performance.now() > giveUpAt) {
      await stop();
      throw new Error(`it did not start: ${output.trim().split('\n').at(-1)}`);
    }
    await Promise.race([wait(25), exited]);
  }
  return { pid: child.pid ?? 0, stop };
}

/** Characters of output kept to tell why a program did not start. */
const outputKept = 4000;

async function answers200(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { headers: { connection: 'close' } });
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** What a command that ends by itself prints to both outputs. */
export function outputOf(command: string, args: readonly string[]): Promise<string> {
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

/** The path of a program; Debian has nginx in a folder that is on the PATH of root alone. */
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
