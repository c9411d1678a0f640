import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { runCommand } from '../../scripts/lib/command.ts';
import { compareProxies } from './compare.ts';
import { type Harness, startHarness } from './harness.ts';
import { measureHostileClients } from './hostile-load.ts';
import { measureOverload } from './overload.ts';
import { measurePolicies } from './policies.ts';
import { soak } from './soak.ts';
import { measureSystem } from './system.ts';
import { measureTracing } from './tracing.ts';

/** Runs by command-line option. */
const modes: Readonly<Record<string, (harness: Harness) => Promise<number>>> = {
  '': (harness) => compareProxies(harness, 'normal'),
  '--quick': (harness) => compareProxies(harness, 'quick'),
  '--soak': soak,
  '--policies': measurePolicies,
  '--system': measureSystem('normal'),
  '--system-quick': measureSystem('quick'),
  '--tracing': measureTracing,
  '--overload': measureOverload,
  '--hostile-load': measureHostileClients,
};

/**
 * `npm run bench`: compares the gateway with other proxies. Options:
 * - `--quick`: runs a shorter comparison.
 * - `--soak`: loads the gateway alone for five minutes and checks its memory for growth.
 * - `--policies`: measures the CPU cost of each policy.
 * - `--system`: measures the services beside a minimal one for the same work, and the aggregates; `--system-quick` does so
 *   in a few seconds, to find errors.
 * - `--tracing`: measures the CPU cost of tracing at several sampling ratios.
 * - `--overload`: sends up to three times the capacity of a service.
 * - `--hostile-load`: sends normal load while thousands of hostile clients are connected.
 *
 * Exit code 1: the results are invalid, memory grew (`--soak`), goodput under overload was too low (`--overload`), or a request failed
 * (`--system`) or a normal one (`--hostile-load`). A missed goal of the comparison does not change the exit code.
 */
await runCommand(async () => {
  const [option = '', ...more] = process.argv.slice(2);
  const run = more.length === 0 && Object.hasOwn(modes, option) ? modes[option] : undefined;
  if (run === undefined) {
    const options = Object.keys(modes).filter((name) => name !== '');
    throw new StartupError(
      `Unknown option. Usage: npm run bench, or npm run bench -- ${options.join('|')}`,
      78,
    );
  }
  const harness = await startHarness();
  try {
    return await run(harness);
  } finally {
    await harness.close();
  }
});
