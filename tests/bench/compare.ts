import { bodies } from './bodies.ts';
import { competitors } from './competitors.ts';
import { gatewayName, startGateway } from './gateway.ts';
import { countRequests, type Harness } from './harness.ts';
import type { RunningProxy } from './proxies.ts';
import {
  evaluateGoals,
  findFaults,
  formatBody,
  formatGoals,
  type Round,
  type SkippedProxy,
  summarizeRounds,
} from './report.ts';
import { compareCounts, formatCounts, type GatewayCounts } from './request-counts.ts';
import { describeMachine, saveResult } from './result-file.ts';

/** Duration and number of the rounds of each proxy and body. */
interface Pace {
  /** Milliseconds of load before the rounds of the first body, for JIT compilation. */
  readonly warmUpMs: number;
  /** Milliseconds of load before the rounds of every other body. */
  readonly nextWarmUpMs: number;
  readonly roundMs: number;
  readonly rounds: number;
}

/** `normal` takes about three and a half minutes; `quick` takes 40 seconds, too short for reliable results. */
const paces = {
  normal: { warmUpMs: 5000, nextWarmUpMs: 1000, roundMs: 2000, rounds: 5 },
  quick: { warmUpMs: 1200, nextWarmUpMs: 200, roundMs: 550, rounds: 3 },
} as const satisfies Record<string, Pace>;

const titles = bodies.map(({ title }) => title);

/** Measures the gateway and its competitors and prints the tables. Resolves with the exit code. */
export async function compareProxies(harness: Harness, mode: keyof typeof paces): Promise<number> {
  const pace = paces[mode];
  const { proxies, skipped, rounds, counts } = await measure(harness, pace);
  const versions = Object.fromEntries(proxies.map(({ name, version }) => [name, version]));
  const rows = summarizeRounds(rounds, gatewayName);
  const goalResults = evaluateGoals(rows, titles);
  const faults = [...findFaults(rounds), ...compareCounts(counts)];
  const file = await saveResult(mode, {
    pace,
    bodies,
    versions,
    skipped,
    rows,
    goals: goalResults,
    counts,
    faults,
    rounds,
  });

  for (const body of bodies) console.log(`${formatBody(body, rows, skipped)}\n`);
  console.log(`${formatGoals(goalResults, titles)}\n`);
  console.log(
    `Medians of ${pace.rounds} rounds of ${pace.roundMs} ms, with minimum and maximum in parentheses.\n${explanation}\n`,
  );
  if (mode === 'quick') console.log('This quick run is too short for reliable results.\n');
  for (const [name, value] of Object.entries({ ...describeMachine(), ...versions })) {
    console.log(`${name}: ${value}`);
  }
  console.log(`\nRequest counts of the gateway, including warm-ups: ${formatCounts(counts)}`);
  for (const fault of faults) console.log(`FAILED ${fault}`);
  console.log(`Results written to ${file}`);
  return faults.length === 0 ? 0 : 1;
}

const explanation = `CPU is the user and system time of all processes and threads of a proxy. gateway/proxy is the CPU of the gateway divided by
the CPU of the proxy in the same round. Load generator, upstream and log reader share the cores with the proxies, so on few cores
only CPU per request is comparable. npm run bench -- --soak checks for memory growth.`;

interface Measurement {
  readonly proxies: readonly RunningProxy[];
  readonly skipped: readonly SkippedProxy[];
  readonly rounds: readonly Round[];
  readonly counts: GatewayCounts;
}

/** Runs all proxies at the same time and loads one at a time. */
async function measure(harness: Harness, pace: Pace): Promise<Measurement> {
  const gateway = await startGateway(harness.proxyOptions);
  const proxies: RunningProxy[] = [gateway];
  const skipped: SkippedProxy[] = [];
  const rounds: Round[] = [];
  try {
    for (const { name, start } of competitors) {
      try {
        proxies.push(await start(harness.proxyOptions));
      } catch (error) {
        skipped.push({ name, reason: (error as Error).message });
      }
    }
    for (const body of bodies) {
      console.log(`Measuring ${body.title}`);
      for (const proxy of proxies) {
        const milliseconds = body === bodies[0] ? pace.warmUpMs : pace.nextWarmUpMs;
        rounds.push(await harness.run({ proxy, body, round: 0, milliseconds }));
      }
      for (let round = 1; round <= pace.rounds; round += 1) {
        // The order rotates, so that no proxy is always measured after the same one.
        const first = round % proxies.length;
        for (const proxy of [...proxies.slice(first), ...proxies.slice(0, first)]) {
          rounds.push(await harness.run({ proxy, body, round, milliseconds: pace.roundMs }));
        }
      }
    }
    return { proxies, skipped, rounds, counts: await countRequests(gateway, rounds) };
  } finally {
    await Promise.all(proxies.map((proxy) => proxy.stop()));
  }
}
