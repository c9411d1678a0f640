import { banner } from './lib/banner.ts';
import { bundle } from './lib/bundler.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { createPrefix, logVariables, wantsColour } from './lib/console-lines.ts';
import { withOwnSecrets } from './lib/own-secrets.ts';
import { requireFreePorts } from './lib/ports.ts';
import { planSystem } from './lib/services.ts';
import { supervise } from './lib/supervisor.ts';

await runCommand(async () => {
  const plan = planSystem(await withOwnSecrets(process.env));
  await requireFreePorts(
    plan.host,
    plan.services.flatMap(({ ports }) => ports),
  );
  await bundle(plan.services.map(({ name }) => name));

  const prefix = createPrefix(wantsColour(process.stdout, process.env));
  const log = logVariables(process.stdout, process.env);
  const supervisor = supervise(
    plan.services.map(({ name, file, env, managementUrl }) => ({
      name,
      file,
      env: { ...env, ...log },
      readyUrl: `${managementUrl}/readyz`,
    })),
    {
      onLine: (service, line) => console.log(prefix(service, line)),
      onDeath: ({ name, lastLines }, exitCode) => {
        console.error(`\n${name} ended with exit code ${exitCode}, so the run ends. Its last lines:`);
        for (const line of lastLines) console.error(`  ${line}`);
        console.error('');
      },
    },
  );
  onStopSignal(supervisor.stop);
  supervisor.ready.then(
    () => console.log(banner({ plan, startedInMs: performance.now() })),
    (error: Error) => {
      console.error(error.message);
      supervisor.stop();
    },
  );
  return supervisor.ended;
});
