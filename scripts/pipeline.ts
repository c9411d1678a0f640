import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { runCommand } from './lib/command.ts';
import { deliveryUnits, planPipeline } from './lib/delivery-units.ts';
import { runPipeline } from './lib/pipeline.ts';

/**
 * `npm run pipeline -- <service|chart|docs>`: runs the steps of one delivery unit and prints their durations. It is what the
 * workflows run. REQUIRE_HELM=1, REQUIRE_BUILDER=1 and REQUIRE_MESH=1 make a step fail whose tool is missing, instead of skipping it.
 * The tests in a mesh run only with REQUIRE_MESH=1.
 */
await runCommand(async () => {
  const [unit, ...rest] = process.argv.slice(2);
  if (unit === undefined || rest.length > 0)
    throw new StartupError(`Name one delivery unit: ${deliveryUnits.join(', ')}.`, 78);
  const steps = await planPipeline(unit);
  return runPipeline(unit, steps, { print: console.log, env: process.env });
});
