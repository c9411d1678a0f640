import { bodies } from './bodies.ts';
import { competitors } from './competitors.ts';
import { gatewayName, startGateway } from './gateway.ts';
import { compareCounts, formatCounts, type GatewayCounts } from './honesty.ts';
import type { RunningProxy } from './proxies.ts';
import {
  findFaults,
  formatBody,
  formatGoals,
  judgeGoals,
  type LeftOut,
  type Round,
  summarise,
} from './report.ts';
import { describeMachine, saveResult } from './result-file.ts';
import { countRequests, type Stage } from './stage.ts';

/** How long and how often every proxy is put under load for every body. */
interface Pace {
  /** Milliseconds of load before the first body's rounds, in which a proxy in Node has its code compiled. */
  readonly warmUpMs: number;
  /** Milliseconds of load before the rounds of each other body. */
  readonly nextWarmUpMs: number;
  readonly roundMs: number;
  readonly rounds: number;
}

/** `normal` takes about three and a half minutes; `quick`, of 40 seconds, is too short for figures to go by. */
const paces = {
  normal: { warmUpMs: 5000, nextWarmUpMs: 1000, roundMs: 2000, rounds: 5 },
  quick: { warmUpMs: 1200, nextWarmUpMs: 200, roundMs: 550, rounds: 3 },
} as const satisfies Record<string, Pace>;

const titles = bodies.map(({ title }) => title);

/** Measures the gateway and its competitors side by side and prints the tables. Resolves with the exit code. */
export async function compare(stage: Stage, mode: keyof typeof paces): Promise<number> {
  const pace = paces[mode];
  const { proxies, leftOut, rounds, counts } = await measure(stage, pace);
  const versions = Object.fromEntries(proxies.map(({ name, version }) => [name, version]));
  const rows = summarise(rounds, gatewayName);
  const verdicts = judgeGoals(rows, titles);
  const faults = [...findFaults(rounds), ...compareCounts(counts)];
  const file = await saveResult(mode, {
    ...{ pace, bodies, versions, leftOut },
    ...{ rows, goals: verdicts, counts, faults, rounds },
  });

  for (const body of bodies) console.log(`${formatBody(body, rows, leftOut)}\n`);
  console.log(`${formatGoals(verdicts, titles)}\n`);
  console.log(
    `Medians of ${pace.rounds} rounds of ${pace.roundMs} ms, lowest and highest in brackets.\n${reading}\n`,
  );
  if (mode === 'quick') console.log('This run was too short for its figures to be quoted.\n');
  for (const [name, value] of Object.entries({ ...describeMachine(), ...versions })) {
    console.log(`${name}: ${value}`);
  }
  console.log(`\ngateway, whole run: ${formatCounts(counts)}`);
  for (const fault of faults) console.log(`FAILED ${fault}`);
  console.log(`written to ${file}`);
  return faults.length === 0 ? 0 : 1;
}

const reading = `CPU is user and system time of all processes and threads of a proxy; gateway/it is the CPU of the gateway divided by
that of the proxy, round by round. Load generator, upstream and the reading of logs share the cores with the proxies:
with few cores, CPU a request can be compared, requests a second only roughly. Whether memory grows is seen by npm run bench -- --soak.`;

interface Measurement {
  readonly proxies: readonly RunningProxy[];
  readonly leftOut: readonly LeftOut[];
  readonly rounds: readonly Round[];
  readonly counts: GatewayCounts;
}

/** All proxies run from the beginning to the end; one at a time is under load. */
async function measure(stage: Stage, pace: Pace): Promise<Measurement> {
  const gateway = await startGateway(stage.surroundings);
  const proxies: RunningProxy[] = [gateway];
  const leftOut: LeftOut[] = [];
  const rounds: Round[] = [];
  try {
    for (const { name, start } of competitors) {
      try {
        proxies.push(await start(stage.surroundings));
      } catch (error) {
        leftOut.push({ name, reason: (error as Error).message });
      }
    }
    for (const body of bodies) {
      console.log(`measuring ${body.title}`);
      for (const proxy of proxies) {
        const milliseconds = body === bodies[0] ? pace.warmUpMs : pace.nextWarmUpMs;
        rounds.push(await stage.run({ proxy, body, round: 0, milliseconds }));
      }
      for (let round = 1; round <= pace.rounds; round += 1) {
        // The order turns, so that none is always measured after the same one.
        const first = round % proxies.length;
        for (const proxy of [...proxies.slice(first), ...proxies.slice(0, first)]) {
          rounds.push(await stage.run({ proxy, body, round, milliseconds: pace.roundMs }));
        }
      }
    }
    return { proxies, leftOut, rounds, counts: await countRequests(gateway, rounds) };
  } finally {
    await Promise.all(proxies.map((proxy) => proxy.stop()));
  }
}
