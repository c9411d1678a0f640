import { execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { programArgs } from '../../packages/chassis/testing/program.ts';
import { root } from '../../scripts/lib/services.ts';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line with `sh` in the repository's root. */
export function shell(line: string): Promise<CommandResult> {
  return execute('sh', ['-c', line], process.env);
}

/** Runs a script of scripts/ and resolves when it has exited. */
export function runScript(
  name: string,
  env: NodeJS.ProcessEnv = {},
  args: readonly string[] = [],
): Promise<CommandResult> {
  const program = new URL(`../../scripts/${name}.ts`, import.meta.url);
  return execute(process.execPath, [...programArgs(program), ...args], { ...process.env, ...env });
}

/** A script of scripts/ that runs until it is stopped. */
export interface RunningScript {
  /** Lines of stdout and stderr so far. */
  readonly lines: readonly string[];
  /** Resolves with the exit code. */
  readonly exited: Promise<number | null>;
  /**
   * Resolves with the first matching line.
   * @param from index of the first line to test. Default: 0
   * @throws Error with all lines if the script ends without a matching line, or prints none for two minutes
   */
  line(pattern: RegExp, from?: number): Promise<string>;
  kill(signal: NodeJS.Signals): void;
}

/** Milliseconds within which a script prints an expected line. */
const lineTimeoutMs = 120_000;

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
      const giveUpAt = performance.now() + lineTimeoutMs;
      while (true) {
        const match = lines.slice(from).find((line) => pattern.test(line));
        if (match !== undefined) return match;
        const leftMs = giveUpAt - performance.now();
        if (ended || leftMs <= 0) throw new Error(`No line matches ${pattern} in:\n${lines.join('\n')}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, leftMs).unref();
        });
      }
    },
    kill(signal) {
      child.kill(signal);
    },
  };
}

function execute(file: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(file, args, { cwd: root, env }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, stdout, stderr });
    });
  });
}
