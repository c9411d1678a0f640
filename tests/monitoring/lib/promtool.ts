import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { findCommand } from '../../../scripts/lib/chart.ts';

const run = promisify(execFile);

/** Paths of the commands on the PATH: Debian's Prometheus 2, and Prometheus 3 beside it. They evaluate ranges differently. */
const found = (await Promise.all(['promtool', 'promtool3'].map(findCommand))).filter(
  (command) => command !== undefined,
);

/**
 * Declares a suite for each promtool on the PATH. Without any, the suite is one skipped test, or with REQUIRE_PROMTOOL=1 a failed one.
 */
export function describeWithPromtool(title: string, suite: (promtool: string) => void): void {
  for (const command of found) describe(`${title} (${command.split('/').at(-1)})`, () => suite(command));
  if (found.length > 0) return;
  if (process.env.REQUIRE_PROMTOOL === '1') {
    it(title, () => {
      throw new Error('promtool is not on the PATH. Install Prometheus or unset REQUIRE_PROMTOOL.');
    });
  } else {
    it(`${title}: skipped, promtool is not on the PATH`, { skip: true }, () => undefined);
  }
}

/** Runs promtool with a file of this content as the last argument. @throws Error with its output if it fails */
export async function runPromtool(
  promtool: string,
  args: readonly string[],
  content: unknown,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'zerda-promtool-'));
  try {
    const file = join(folder, 'input.yaml');
    await writeFile(file, typeof content === 'string' ? content : stringify(content));
    const { stdout } = await run(promtool, [...args, file], { maxBuffer: 16 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${stdout}${stderr}` || String(error));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
