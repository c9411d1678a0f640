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
import { openStage, type Stage, type Transport, transports } from './lib/stage.ts';

const usage = `usage: npm run faults -- [--seeds N] [--first S] [--minutes M]
       npm run faults -- --seed S
  --seeds    how many seeds, 20 by default; odd ones by HTTP, even ones by NATS, side by side
  --first    the first of them, 1 by default
  --minutes  no seed begins after that many minutes, 15 by default; seeds that were not run count as failed
  --seed     one seed alone, to look into it`;

/** Violations that are printed of a seed; all are in its folder. */
const shown = 12;

await runCommand(async () => {
  const { seeds, minutes, only } = readOptions();
  const dist = await makeDist();
  const stages: Stage[] = [];
  const results: { readonly transport: Transport; readonly result: SeedResult }[] = [];
  const closeAll = async (): Promise<void> => {
    await Promise.all(stages.splice(0).map((stage) => stage.close()));
    await rm(dist, { recursive: true, force: true });
  };
  let stopping = false;
  onStopSignal(() => {
    stopping = true;
  });
  const endAt = performance.now() + minutes * 60_000;

  async function runAll(transport: Transport): Promise<void> {
    const own = seeds.filter((seed) => transportOf(seed) === transport);
    if (own.length === 0) return;
    const stage = await openStage({ transport, dist });
    stages.push(stage);
    for (const seed of own) {
      if (stopping || performance.now() > endAt) return;
      const result = await runSeed({ stage, seed, dist });
      results.push({ transport, result });
      console.log(formatLine(transport, result));
      if (failed(result) || only) await report(stage, result);
    }
  }

  try {
    await bundleAll(dist);
    console.log(heading);
    const runs = transports.map((transport) =>
      runAll(transport).catch((error: unknown) => {
        // The other transport's stage is closed once its seed has ended, not under it.
        stopping = true;
        throw error;
      }),
    );
    await Promise.allSettled(runs);
    await Promise.all(runs);
  } finally {
    await closeAll();
  }
  const bad = results.filter(({ result }) => failed(result)).length;
  const missing = seeds.length - results.length;
  console.log(formatSummary(results));
  if (missing > 0) {
    console.log(`${missing} seeds were not run: ${stopping ? 'it was told to stop' : 'the time was over'}`);
  }
  console.log(`faults: ${results.length - bad} passed, ${bad + missing} failed`);
  return bad + missing > 0 ? 1 : 0;
});

/** Seeds alternate between the transports. */
function transportOf(seed: number): Transport {
  return seed % 2 === 1 ? 'http' : 'nats';
}

function failed({ violations, tooQuiet }: SeedResult): boolean {
  return violations.length > 0 || tooQuiet !== undefined;
}

/** Prints what does not hold, and keeps all that it was judged by. */
async function report(
  stage: Stage,
  { seed, violations, tooQuiet, story, evidence }: SeedResult,
): Promise<void> {
  const folder = join(tmpdir(), `zerda-faults-${process.pid}`, `seed-${seed}`);
  // Rows of users and logs are in it, and any user can list the temporary folder.
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(folder, 'evidence.json'), JSON.stringify(evidence, undefined, 1));
  await writeFile(join(folder, 'violations.json'), JSON.stringify(violations, undefined, 1));
  await writeFile(join(folder, 'story.txt'), `${story.join('\n')}\n`);
  for (const { name, lines } of stage.replicas) {
    await writeFile(join(folder, `${name.replace(' ', '-')}.log`), `${lines.join('\n')}\n`);
  }
  for (const line of story) console.log(`    ${line}`);
  if (tooQuiet !== undefined) console.log(`  does not count: ${tooQuiet}`);
  for (const { rule, text } of violations.slice(0, shown)) {
    console.log(`  ${rule} (${rules[rule]}):\n    ${text}`);
  }
  if (violations.length > shown) console.log(`  and ${violations.length - shown} more`);
  console.log(`  all of it is in ${folder}; again: npm run faults -- --seed ${seed}`);
}

function readOptions(): { seeds: number[]; minutes: number; only: boolean } {
  const text = { type: 'string' } as const;
  const { values } = parse({ seeds: text, first: text, minutes: text, seed: text });
  const number = (given: string | undefined, otherwise: number): number => {
    const read = given === undefined ? otherwise : Number(given);
    if (!Number.isInteger(read) || read < 1) throw new StartupError(usage, 78);
    return read;
  };
  const minutes = number(values.minutes, 15);
  if (values.seed !== undefined) return { seeds: [number(values.seed, 1)], minutes, only: true };
  const first = number(values.first, 1);
  const seeds = Array.from({ length: number(values.seeds, 20) }, (_, index) => first + index);
  return { seeds, minutes, only: false };
}

function parse(options: Record<'seeds' | 'first' | 'minutes' | 'seed', { type: 'string' }>) {
  try {
    return parseArgs({ options });
  } catch {
    throw new StartupError(usage, 78);
  }
}
