import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { bundle } from './lib/bundler.ts';
import { runCommand } from './lib/command.ts';
import { copyNativePackages } from './lib/native-packages.ts';
import { services } from './lib/services.ts';

/** `npm run build -- [service…]` bundles these services, or all; what is in `dist/<service>` then runs by itself, on PostgreSQL. */
await runCommand(async () => {
  const begun = performance.now();
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((name) => !services.some((service) => service.name === name));
  if (unknown !== undefined) throw new StartupError(`There is no service ${unknown} to build.`, 78);
  const chosen = services.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
  const bundles = await bundle(chosen.map(({ name }) => name));
  await Promise.all(chosen.map(({ name }) => copyNativePackages(name)));
  for (const { name, bytes } of bundles) {
    console.log(`dist/${name}/bin/main.mjs`.padEnd(34), `${(bytes / 1024).toFixed(0).padStart(6)} KiB`);
  }
  console.log(`built in ${((performance.now() - begun) / 1000).toFixed(2)} s`);
  return 0;
});
