import { copyManifests } from './lib/bundled-packages.ts';
import { bundle } from './lib/bundler.ts';
import { runCommand } from './lib/command.ts';
import { copyNativePackages } from './lib/native-packages.ts';
import { selectServices } from './lib/services.ts';

/** `npm run build -- [service…]`: bundles these services, or all, into `dist/<service>`. The bundles run without the repository and need PostgreSQL. */
await runCommand(async () => {
  const startedAt = performance.now();
  const selected = selectServices(process.argv.slice(2));
  const bundles = await bundle(selected, undefined, [copyManifests(selected)]);
  await Promise.all(selected.map((name) => copyNativePackages(name)));
  for (const { name, bytes } of bundles) {
    console.log(`dist/${name}/bin/main.mjs`.padEnd(34), `${(bytes / 1024).toFixed(0).padStart(6)} KiB`);
  }
  console.log(`built in ${((performance.now() - startedAt) / 1000).toFixed(2)} s`);
  return 0;
});
