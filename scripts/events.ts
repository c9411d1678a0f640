import { bundle } from './lib/bundler.ts';
import { runCommand } from './lib/command.ts';
import { withOwnSecrets } from './lib/own-secrets.ts';
import { runServiceCommand } from './lib/service-command.ts';
import { planSystem, services } from './lib/services.ts';

/**
 * `npm run events -- [service] …` does at one service what `node main.mjs events …` does, or at all of them: then each says what it
 * has to say, and those that do not know the letter or the command are passed over, unless none does.
 */
await runCommand(async () => {
  const words = process.argv.slice(2);
  const namesWithDatabase = services.filter(({ hasDatabase }) => hasDatabase).map(({ name }) => name);
  const withDatabase = planSystem(await withOwnSecrets(process.env)).services.filter(({ name }) =>
    namesWithDatabase.includes(name),
  );
  const named = withDatabase.filter(({ name }) => name === words[0]);
  const chosen = named.length > 0 ? named : withDatabase;
  const rest = named.length > 0 ? words.slice(1) : words;

  await bundle(chosen.map(({ name }) => name));
  const runs = await Promise.all(chosen.map((service) => runServiceCommand(service, ['events', ...rest])));
  const done = runs.filter(({ code }) => code === 0);
  for (const { output } of done) process.stdout.write(output);
  // A list that is not whole must not look like one.
  const failed = done.length === 0 || rest[1] === 'list' ? runs.filter(({ code }) => code !== 0) : [];
  for (const { errors } of failed) process.stderr.write(errors);
  return failed[0]?.code ?? 0;
});
