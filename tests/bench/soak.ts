import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { bodies } from './bodies.ts';
import { startGateway } from './gateway.ts';
import { compareCounts, formatCounts } from './honesty.ts';
import { readUsage } from './process-usage.ts';
import { findFaults, type Round } from './report.ts';
import { saveResult } from './result-file.ts';
import { countRequests, type Stage } from './stage.ts';
import { judgeGrowth, percentile } from './statistics.ts';

const minutes = 5;

/** What the gateway goes through again and again: small answers for most of the time, and some of each other size. */
const cycle = [
  { body: bodies[0], milliseconds: 8000 },
  { body: bodies[1], milliseconds: 1000 },
  { body: bodies[2], milliseconds: 1000 },
] as const;

const sampleEveryMs = 1000;

/**
 * Of the memory of a minute, what 10 % of the samples lie below: memory goes up and down with garbage and large bodies,
 * and its floor is the nearest to what is really held. A leak lifts the floor as well.
 */
const floorPercent = 10;

/** Five minutes of load on the gateway alone, with the floor of its memory minute by minute. Resolves with the exit code. */
export async function soak(stage: Stage): Promise<number> {
  const gateway = await startGateway(stage.surroundings);
  const rounds: Round[] = [];
  const samples: { readonly minute: number; readonly bytes: number }[] = [];
  try {
    const startBytes = (await readUsage(gateway.pid))?.residentBytes;
    if (startBytes === undefined)
      throw new StartupError('A soak reads /proc, which this system does not have.');
    console.log(`start: ${toMiB(startBytes)} MiB`);
    const startedAt = performance.now();
    const minuteNow = (): number => Math.floor((performance.now() - startedAt) / 60_000);

    const sampling = setInterval(async () => {
      const usage = await readUsage(gateway.pid);
      if (usage) samples.push({ minute: minuteNow(), bytes: usage.residentBytes });
    }, sampleEveryMs);
    const floorOf = (minute: number): number => {
      const ofMinute = samples.filter((sample) => sample.minute === minute).map(({ bytes }) => bytes);
      return (
        percentile(
          ofMinute.sort((a, b) => a - b),
          floorPercent,
        ) ?? Number.NaN
      );
    };
    try {
      for (let minute = 0; minute < minutes; minute += 1) {
        while (minuteNow() === minute) {
          for (const part of cycle) {
            rounds.push(await stage.run({ proxy: gateway, round: rounds.length + 1, ...part }));
          }
        }
        console.log(`minute ${minute + 1}: ${toMiB(floorOf(minute))} MiB`);
      }
    } finally {
      clearInterval(sampling);
    }
    const floors = Array.from({ length: minutes }, (_, minute) => floorOf(minute));
    const endBytes = (await readUsage(gateway.pid))?.residentBytes ?? Number.NaN;
    const growth = judgeGrowth(floors);
    const counts = await countRequests(gateway, rounds);
    const faults = [
      ...findFaults(rounds),
      ...compareCounts(counts),
      ...(growth.steady ? [] : [`memory grew to ${growth.factor.toFixed(2)} x that of the second minute`]),
    ];
    const file = await saveResult('soak', {
      ...{ startBytes, floors, endBytes, growth, samples, counts, faults, rounds },
    });
    console.log(`end: ${toMiB(endBytes)} MiB; last minute ${growth.factor.toFixed(2)} x the second`);
    console.log(`gateway, whole run: ${formatCounts(counts)}`);
    for (const fault of faults) console.log(`FAILED ${fault}`);
    console.log(`written to ${file}`);
    return faults.length === 0 ? 0 : 1;
  } finally {
    await gateway.stop();
  }
}

function toMiB(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(0);
}
