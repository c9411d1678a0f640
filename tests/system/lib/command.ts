import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { root } from '../../../scripts/lib/services.ts';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line as a person types it, through `sh`. */
export function shell(line: string): Promise<Outcome> {
  return outcome('sh', ['-c', line], process.env);
}

/** Runs a script of scripts/ to its end. */
export function runScript(
  name: string,
  env: NodeJS.ProcessEnv = {},
  words: readonly string[] = [],
): Promise<Outcome> {
  const args = ['--import', 'tsx', `scripts/${name}.ts`, ...words];
  return outcome(process.execPath, args, { ...process.env, ...env });
}

/** Runs a script of scripts/ that goes on until it is stopped. */
export interface RunningScript {
  readonly lines: readonly string[];
  readonly exited: Promise<number | null>;
  /** Resolves once a line after the first `from` matches. @throws Error with all lines when the script ends first. */
  line(pattern: RegExp, from?: number): Promise<string>;
  kill(signal: NodeJS.Signals): void;
}

export function startScript(name: string, env: NodeJS.ProcessEnv = {}, cwd = root): RunningScript {
  const child = spawn(process.execPath, ['--import', 'tsx', `scripts/${name}.ts`], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  let ended = false;
  let wake = (): void => {};
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on('line', (line) => {
      lines.push(line);
      wake();
    });
  }
  const exited = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      ended = true;
      resolve(code);
      wake();
    });
  });
  return {
    lines,
    exited,
    async line(pattern, from = 0) {
      while (true) {
        const found = lines.slice(from).find((line) => pattern.test(line));
        if (found !== undefined) return found;
        if (ended) throw new Error(`no line like ${pattern} in:\n${lines.join('\n')}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    kill(signal) {
      child.kill(signal);
    },
  };
}

function outcome(file: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(file, args, { cwd: root, env }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, stdout, stderr });
    });
  });
}
