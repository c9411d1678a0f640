import { watchBundle } from './lib/bundler.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { withGeneratedSecrets } from './lib/generated-secrets.ts';
import { requireFreePorts } from './lib/ports.ts';
import { createRestarter } from './lib/restarter.ts';
import { openServiceOutput } from './lib/service-output.ts';
import { planSystem } from './lib/services.ts';

await runCommand(async () => {
  const plan = planSystem(await withGeneratedSecrets(process.env));
  await requireFreePorts(
    plan.host,
    plan.services.flatMap(({ ports }) => ports),
  );

  const output = await openServiceOutput(plan, process.stdout, process.env);
  const watched = await Promise.all(
    plan.services.map(async ({ name, file, env, url, managementUrl }) => {
      const restarter = createRestarter(
        { name, file, env: { ...env, ...output.env }, readyUrl: `${managementUrl}/readyz` },
        {
          onLine: (line) => output.onLine(name, line),
          onReady: (ms) => console.log(output.prefix(name, `ready in ${ms.toFixed(0)} ms on ${url}`)),
          onUnexpectedExit: (exitCode) =>
            console.error(
              output.prefix(name, `ended with exit code ${exitCode}; it restarts at the next change`),
            ),
        },
      );
      let running = false;
      const watcher = await watchBundle(name, {
        onBundle: ({ changed }) => {
          if (running && !changed) return;
          running = true;
          restarter.restart();
        },
        onFailure: () => console.error(output.prefix(name, 'build failed; the previous build keeps running')),
      });
      return { restarter, watcher };
    }),
  );

  await new Promise<void>((resolve) => onStopSignal(resolve));
  await Promise.all(watched.map(({ watcher }) => watcher.dispose()));
  const codes = await Promise.all(watched.map(({ restarter }) => restarter.stop()));
  await output.close();
  return Math.max(...codes);
});
