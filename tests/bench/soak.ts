import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { bodies } from './bodies.ts';
import { startGateway } from './gateway.ts';
import { countRequests, type Harness } from './harness.ts';
import { readUsage } from './process-usage.ts';
import { findFaults, type Round } from './report.ts';
import { compareCounts, formatCounts } from './request-counts.ts';
import { saveResult } from './result-file.ts';
import { evaluateGrowth, percentile } from './statistics.ts';

const minutes = 5;

/** Rounds that are repeated: mostly small responses, and some of each other size. */
const cycle = [
  { body: bodies[0], milliseconds: 8000 },
  { body: bodies[1], milliseconds: 1000 },
  { body: bodies[2], milliseconds: 1000 },
] as const;

const sampleEveryMs = 1000;

/**
 * Percentile of a minute's memory samples that is its floor. Garbage and large bodies raise memory for a while; the floor is
 * closest to the memory in use, and a leak raises it.
 */
const floorPercent = 10;

/** Loads the gateway alone for five minutes and reports the floor of its memory per minute. Resolves with the exit code. */
export async function soak(harness: Harness): Promise<number> {
  const gateway = await startGateway(harness.proxyOptions);
  const rounds: Round[] = [];
  const samples: { readonly minute: number; readonly bytes: number }[] = [];
  try {
    const startBytes = (await readUsage(gateway.pid))?.residentBytes;
    if (startBytes === undefined)
      throw new StartupError('The soak test reads /proc, which this system does not have. Run it on Linux.');
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
            rounds.push(await harness.run({ proxy: gateway, round: rounds.length + 1, ...part }));
          }
        }
        console.log(`minute ${minute + 1}: ${toMiB(floorOf(minute))} MiB`);
      }
    } finally {
      clearInterval(sampling);
    }
    const floors = Array.from({ length: minutes }, (_, minute) => floorOf(minute));
    const endBytes = (await readUsage(gateway.pid))?.residentBytes ?? Number.NaN;
    const growth = evaluateGrowth(floors);
    const counts = await countRequests(gateway, rounds);
    const faults = [
      ...findFaults(rounds),
      ...compareCounts(counts),
      ...(growth.steady
        ? []
        : [`memory of the last minute is ${growth.factor.toFixed(2)} times that of the second`]),
    ];
    const file = await saveResult('soak', {
      startBytes,
      floors,
      endBytes,
      growth,
      samples,
      counts,
      faults,
      rounds,
    });
    console.log(
      `end: ${toMiB(endBytes)} MiB; last minute: ${growth.factor.toFixed(2)} times the second minute`,
    );
    console.log(`Request counts of the gateway: ${formatCounts(counts)}`);
    for (const fault of faults) console.log(`FAILED ${fault}`);
    console.log(`Results written to ${file}`);
    return faults.length === 0 ? 0 : 1;
  } finally {
    await gateway.stop();
  }
}

function toMiB(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(0);
}
