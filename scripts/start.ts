import { banner } from './lib/banner.ts';
import { bundle } from './lib/bundler.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { withGeneratedSecrets } from './lib/generated-secrets.ts';
import { requireFreePorts } from './lib/ports.ts';
import { openServiceOutput } from './lib/service-output.ts';
import { planSystem } from './lib/services.ts';
import { supervise } from './lib/supervisor.ts';
import { untilServed } from './lib/until-served.ts';

await runCommand(async () => {
  const plan = planSystem(await withGeneratedSecrets(process.env));
  await requireFreePorts(
    plan.host,
    plan.services.flatMap(({ ports }) => ports),
  );
  await bundle(plan.services.map(({ name }) => name));

  const output = await openServiceOutput(plan, process.stdout, process.env);
  const stopping = new AbortController();
  const supervisor = supervise(
    plan.services.map(({ name, file, env, managementUrl }) => ({
      name,
      file,
      env: { ...env, ...output.env },
      readyUrl: `${managementUrl}/readyz`,
    })),
    {
      onLine: output.onLine,
      onUnexpectedExit: ({ name, lastLines }, exitCode) => {
        stopping.abort();
        console.error(
          `\n${name} ended with exit code ${exitCode}. All services are stopping. Its last lines:`,
        );
        for (const line of lastLines) console.error(`  ${line}`);
        console.error('');
      },
    },
  );
  onStopSignal(() => {
    stopping.abort();
    supervisor.stop();
  });
  supervisor.ready
    .then(() => untilServed(plan, { signal: stopping.signal }))
    .then(
      (served) => {
        if (served) console.log(banner({ plan, startedInMs: performance.now() }));
      },
      (error: Error) => {
        console.error(error.message);
        supervisor.stop();
      },
    );
  return supervisor.ended.finally(output.close);
});
