import { bundle } from './lib/bundler.ts';
import { runCommand } from './lib/command.ts';
import { withGeneratedSecrets } from './lib/generated-secrets.ts';
import { runServiceCommand, selectServices } from './lib/service-command.ts';
import { planSystem, services } from './lib/services.ts';

/**
 * `npm run events -- [service] …`: runs `node main.mjs events …` for one service, or for all. For all services, failures
 * are ignored as long as one service succeeds, because an event or a command may exist in one of them only.
 */
await runCommand(async () => {
  const namesWithDatabase = services.filter(({ database }) => database).map(({ name }) => name);
  const withDatabase = planSystem(await withGeneratedSecrets(process.env)).services.filter(({ name }) =>
    namesWithDatabase.includes(name),
  );
  const { chosen, rest: eventsArgs } = selectServices(withDatabase, process.argv.slice(2));

  await bundle(chosen.map(({ name }) => name));
  const runs = await Promise.all(
    chosen.map((service) => runServiceCommand(service, ['events', ...eventsArgs])),
  );
  const succeeded = runs.filter(({ code }) => code === 0);
  for (const { output } of succeeded) process.stdout.write(output);
  // An incomplete list must not look complete.
  const failed =
    succeeded.length === 0 || eventsArgs[1] === 'list' ? runs.filter(({ code }) => code !== 0) : [];
  for (const run of runs) {
    // The failure of one service is not shown, but its audit lines are: it may have changed something.
    const shown = run.code === 0 || failed.includes(run);
    const lines = run.errors.split(/(?<=\n)/).filter((line) => shown || line.includes('"stream":"audit"'));
    process.stderr.write(lines.join(''));
  }
  return failed[0]?.code ?? 0;
});
