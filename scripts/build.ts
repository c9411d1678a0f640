import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { copyManifests } from './lib/bundled-packages.ts';
import { bundle } from './lib/bundler.ts';
import { runCommand } from './lib/command.ts';
import { copyNativePackages } from './lib/native-packages.ts';
import { services } from './lib/services.ts';

/** `npm run build -- [service…]`: bundles these services, or all, into `dist/<service>`. The bundles run without the repository and need PostgreSQL. */
await runCommand(async () => {
  const startedAt = performance.now();
  const names = process.argv.slice(2);
  const unknown = names.find((name) => !services.some((service) => service.name === name));
  if (unknown !== undefined)
    throw new StartupError(
      `Unknown service: ${unknown}. Use ${services.map(({ name }) => name).join(', ')}.`,
      78,
    );
  const selected = services
    .map(({ name }) => name)
    .filter((name) => names.length === 0 || names.includes(name));
  const bundles = await bundle(selected, undefined, [copyManifests(selected)]);
  await Promise.all(selected.map((name) => copyNativePackages(name)));
  for (const { name, bytes } of bundles) {
    console.log(`dist/${name}/bin/main.mjs`.padEnd(34), `${(bytes / 1024).toFixed(0).padStart(6)} KiB`);
  }
  console.log(`built in ${((performance.now() - startedAt) / 1000).toFixed(2)} s`);
  return 0;
});
