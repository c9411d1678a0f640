import { execFile } from 'node:child_process';
import { bundle } from './lib/bundler.ts';
import { runCommand } from './lib/command.ts';
import { withOwnSecrets } from './lib/own-secrets.ts';
import { planSystem } from './lib/services.ts';

const service = 'user-service';

/** `npm run keys -- …` does at user-service what `node main.mjs keys …` does: the keys of access tokens, and their rotation. */
await runCommand(async () => {
  const plan = planSystem(await withOwnSecrets(process.env)).services.find(({ name }) => name === service);
  if (plan === undefined) throw new Error(`${service} is not in the plan`);
  await bundle([service]);
  return new Promise<number>((resolve) => {
    execFile(
      process.execPath,
      ['--enable-source-maps', plan.file, 'keys', ...process.argv.slice(2)],
      { env: plan.env },
      (error, output, errors) => {
        process.stdout.write(output);
        process.stderr.write(errors);
        resolve(typeof error?.code === 'number' ? error.code : error ? 1 : 0);
      },
    );
  });
});
