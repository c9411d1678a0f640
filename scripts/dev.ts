import { watchBundle } from './lib/bundler.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { createPrefix, logVariables, wantsColour } from './lib/console-lines.ts';
import { withOwnSecrets } from './lib/own-secrets.ts';
import { requireFreePorts } from './lib/ports.ts';
import { createRestarter } from './lib/restarter.ts';
import { planSystem } from './lib/services.ts';

await runCommand(async () => {
  const plan = planSystem(await withOwnSecrets(process.env));
  await requireFreePorts(
    plan.host,
    plan.services.flatMap(({ ports }) => ports),
  );

  const prefix = createPrefix(wantsColour(process.stdout, process.env));
  const log = logVariables(process.stdout, process.env);
  const watched = await Promise.all(
    plan.services.map(async ({ name, file, env, url, managementUrl }) => {
      const restarter = createRestarter(
        { name, file, env: { ...env, ...log }, readyUrl: `${managementUrl}/readyz` },
        {
          onLine: (line) => console.log(prefix(name, line)),
          onReady: (ms) => console.log(prefix(name, `ready in ${ms.toFixed(0)} ms on ${url}`)),
          onDeath: (exitCode) =>
            console.error(
              prefix(name, `ended with exit code ${exitCode}; it starts again at the next change`),
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
        onFailure: () => console.error(prefix(name, 'not built; what ran before goes on')),
      });
      return { restarter, watcher };
    }),
  );

  await new Promise<void>((resolve) => onStopSignal(resolve));
  await Promise.all(watched.map(({ watcher }) => watcher.dispose()));
  const codes = await Promise.all(watched.map(({ restarter }) => restarter.stop()));
  return Math.max(...codes);
});
