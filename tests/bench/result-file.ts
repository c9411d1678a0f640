import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../../scripts/lib/services.ts';

const folder = fileURLToPath(new URL('results/', import.meta.url));

/** The machine that a run was made on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** Processes that wanted to run, on average over the minute before; well above 0, others were at work too. */
  readonly loadBefore: number;
}

const [loadBefore = 0] = loadavg();

export function describeMachine(): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    system: `${type()} ${release()}`,
    node: process.version,
    loadBefore,
  };
}

/** Writes what a run found, with the machine and the time; returns the file, relative to the repository. */
export async function saveResult(mode: string, result: object): Promise<string> {
  const at = new Date().toISOString();
  const file = join(folder, `${mode}-${at.replaceAll(':', '-')}.json`);
  await mkdir(folder, { recursive: true });
  await writeFile(file, `${JSON.stringify({ mode, at, machine: describeMachine(), ...result }, null, 2)}\n`);
  return relative(root, file);
}
