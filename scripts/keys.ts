import { bundle } from './lib/bundler.ts';
import { runCommand } from './lib/command.ts';
import { withGeneratedSecrets } from './lib/generated-secrets.ts';
import { runServiceCommand } from './lib/service-command.ts';
import { planSystem } from './lib/services.ts';

const service = 'user-service';

/** `npm run keys -- …`: runs `node main.mjs keys …` of user-service, which lists and rotates the keys of access tokens. */
await runCommand(async () => {
  const plan = planSystem(await withGeneratedSecrets(process.env)).services.find(
    ({ name }) => name === service,
  );
  if (plan === undefined) throw new Error(`${service} is not in the plan`);
  await bundle([service]);
  const { code, output, errors } = await runServiceCommand(plan, ['keys', ...process.argv.slice(2)]);
  process.stdout.write(output);
  process.stderr.write(errors);
  return code;
});
