import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { onStopSignal, runCommand } from '../../scripts/lib/command.ts';
import { rules } from './lib/checker.ts';
import { bundleAll, makeDist } from './lib/mutants.ts';
import { formatLine, formatSummary, heading } from './lib/report.ts';
import { runSeed, type SeedResult } from './lib/seed.ts';
import { startTestSystem, type TestSystem, type Transport, transports } from './lib/test-system.ts';

const usage = `usage: npm run faults -- [--seeds N] [--first S] [--minutes M]
       npm run faults -- --seed S
  --seeds    number of seeds, default 20; odd seeds use HTTP, even ones NATS, both in parallel
  --first    first seed, default 1
  --minutes  starts no seed after this time, default 15; seeds that did not run count as failed
  --seed     runs one seed and prints its timeline`;

/** Maximum number of printed violations of a seed; its folder has all. */
const maxPrinted = 12;

await runCommand(async () => {
  const { seeds, minutes, single } = readOptions();
  const dist = await makeDist();
  const systems: TestSystem[] = [];
  const results: { readonly transport: Transport; readonly result: SeedResult }[] = [];
  const closeAll = async (): Promise<void> => {
    await Promise.all(systems.splice(0).map((system) => system.close()));
    await rm(dist, { recursive: true, force: true });
  };
  let stopping = false;
  onStopSignal(() => {
    stopping = true;
  });
  const endAt = performance.now() + minutes * 60_000;

  async function runAll(transport: Transport): Promise<void> {
    const transportSeeds = seeds.filter((seed) => transportOf(seed) === transport);
    if (transportSeeds.length === 0) return;
    const system = await startTestSystem({ transport, dist });
    systems.push(system);
    for (const seed of transportSeeds) {
      if (stopping || performance.now() > endAt) return;
      const result = await runSeed({ system, seed, dist });
      results.push({ transport, result });
      console.log(formatLine(transport, result));
      if (hasFailed(result) || single) await report(system, result);
    }
  }

  try {
    await bundleAll(dist);
    console.log(heading);
    const runs = transports.map((transport) =>
      runAll(transport).catch((error: unknown) => {
        // The other transport finishes its current seed before its processes are stopped.
        stopping = true;
        throw error;
      }),
    );
    await Promise.allSettled(runs);
    await Promise.all(runs);
  } finally {
    await closeAll();
  }
  const failed = results.filter(({ result }) => hasFailed(result)).length;
  const missing = seeds.length - results.length;
  console.log(formatSummary(results));
  if (missing > 0) {
    console.log(
      `${missing} seeds did not run: ${stopping ? 'the run was stopped' : 'the time limit was reached'}`,
    );
  }
  console.log(`faults: ${results.length - failed} passed, ${failed + missing} failed`);
  return failed + missing > 0 ? 1 : 0;
});

/** Seeds alternate between the transports. */
function transportOf(seed: number): Transport {
  return seed % 2 === 1 ? 'http' : 'nats';
}

function hasFailed({ violations, insufficient }: SeedResult): boolean {
  return violations.length > 0 || insufficient !== undefined;
}

/** Prints the violations of a seed and writes its evidence, timeline and logs to a folder. */
async function report(
  system: TestSystem,
  { seed, violations, insufficient, timeline, evidence }: SeedResult,
): Promise<void> {
  const folder = join(tmpdir(), `zerda-faults-${process.pid}`, `seed-${seed}`);
  // Private to this user, because the files contain rows and logs.
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, 'evidence.json'), JSON.stringify(evidence, undefined, 1));
  await writeFile(join(folder, 'violations.json'), JSON.stringify(violations, undefined, 1));
  await writeFile(join(folder, 'timeline.txt'), `${timeline.join('\n')}\n`);
  for (const { name, lines } of system.replicas) {
    await writeFile(join(folder, `${name.replace(' ', '-')}.log`), `${lines.join('\n')}\n`);
  }
  for (const line of timeline) console.log(`    ${line}`);
  if (insufficient !== undefined) console.log(`  does not count: ${insufficient}`);
  for (const { rule, text } of violations.slice(0, maxPrinted)) {
    console.log(`  ${rule} (${rules[rule]}):\n    ${text}`);
  }
  if (violations.length > maxPrinted) console.log(`  and ${violations.length - maxPrinted} more`);
  console.log(`  evidence and logs: ${folder}; run it again: npm run faults -- --seed ${seed}`);
}

function readOptions(): { seeds: number[]; minutes: number; single: boolean } {
  const text = { type: 'string' } as const;
  const { values } = parse({ seeds: text, first: text, minutes: text, seed: text });
  const parseCount = (value: string | undefined, defaultCount: number): number => {
    const count = value === undefined ? defaultCount : Number(value);
    if (!Number.isInteger(count) || count < 1) throw new StartupError(usage, 78);
    return count;
  };
  const minutes = parseCount(values.minutes, 15);
  if (values.seed !== undefined) return { seeds: [parseCount(values.seed, 1)], minutes, single: true };
  const first = parseCount(values.first, 1);
  const seeds = Array.from({ length: parseCount(values.seeds, 20) }, (_, index) => first + index);
  return { seeds, minutes, single: false };
}

function parse(options: Record<'seeds' | 'first' | 'minutes' | 'seed', { type: 'string' }>) {
  try {
    return parseArgs({ options });
  } catch {
    throw new StartupError(usage, 78);
  }
}
