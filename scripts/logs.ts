import { runLogsCommand } from '../packages/chassis/src/logging/logs-command.ts';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { runCommand } from './lib/command.ts';
import { withGeneratedSecrets } from './lib/generated-secrets.ts';
import { selectServices } from './lib/service-command.ts';
import { planSystem } from './lib/services.ts';

/** `npm run logs -- [service] …`: reads and sets the log levels of the running services, like `node main.mjs logs …` in their images. */
await runCommand(async () => {
  const { services } = planSystem(await withGeneratedSecrets(process.env));
  const { chosen, rest } = selectServices(services, process.argv.slice(2));
  const failures = await Promise.all(
    chosen.map(async ({ name, env }) => {
      const config = {
        HOST: env.HOST,
        MANAGEMENT_PORT: Number(env.MANAGEMENT_PORT),
        MANAGEMENT_SECRET: env.MANAGEMENT_SECRET,
      };
      try {
        await runLogsCommand({ service: name, config }, rest, console.log);
        return [];
      } catch (error) {
        if (error instanceof StartupError) return [{ name, error }];
        throw error;
      }
    }),
  );
  const failed = failures.flat();
  // All services reject wrong arguments with the same text.
  const [first] = failed;
  if (first?.error.exitCode === 78) throw first.error;
  for (const { name, error } of failed) console.error(`${name}: ${error.message}`);
  return first?.error.exitCode ?? 0;
});
