import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../../scripts/lib/services.ts';

const folder = fileURLToPath(new URL('results/', import.meta.url));

/** Properties of the machine that a run was made on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** Load average of the minute before the run. Well above 0, other processes affect the results. */
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

/** Writes the result of a run with the machine and the time. Resolves with the path, relative to the repository. */
export async function saveResult(mode: string, result: object): Promise<string> {
  const at = new Date().toISOString();
  const file = join(folder, `${mode}-${at.replaceAll(':', '-')}.json`);
  await mkdir(folder, { recursive: true });
  await writeFile(file, `${JSON.stringify({ mode, at, machine: describeMachine(), ...result }, null, 2)}\n`);
  return relative(root, file);
}
