import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exitCodeOf } from '../lib/child-process.ts';
import type { Command } from '../lib/images.ts';
import { root } from '../lib/services.ts';

export interface ToolResult {
  readonly code: number;
  readonly stdout: string;
  /** Standard output and standard error, interleaved. */
  readonly output: string;
}

export interface ToolOptions {
  /** Working directory; the repository by default. */
  readonly cwd?: string;
  /** Environment variables in addition to those of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a command of an installed package with the current Node, without a shell. */
export async function runTool(
  packageName: string,
  command: string,
  args: readonly string[],
  { cwd = root, env = {} }: ToolOptions = {},
): Promise<ToolResult> {
  const [file, ...toolArgs] = toolCommand(packageName, command, args);
  const child = spawn(file, toolArgs, {
    cwd,
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const code = await exitCodeOf(child);
  return { code, stdout, output };
}

/** Returns the command line that runs a command of an installed package with the current Node. */
function toolCommand(packageName: string, command: string, args: readonly string[]): Command {
  return [process.execPath, commandFile(packageName, command), ...args];
}

function commandFile(packageName: string, command: string): string {
  const folder = join(root, 'node_modules', packageName);
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    bin: string | Record<string, string>;
  };
  const file = typeof bin === 'string' ? bin : bin[command];
  if (file === undefined) throw new Error(`${packageName} has no command ${command}`);
  return join(folder, file);
}
