import { bundle } from './lib/bundler.ts';
import { runCommand } from './lib/command.ts';
import { services } from './lib/services.ts';

await runCommand(async () => {
  const begun = performance.now();
  const bundles = await Promise.all(services.map(({ name }) => bundle(name)));
  for (const { name, bytes } of bundles) {
    console.log(`dist/${name}/bin/main.mjs`.padEnd(34), `${(bytes / 1024).toFixed(0).padStart(6)} KiB`);
  }
  console.log(`built in ${((performance.now() - begun) / 1000).toFixed(2)} s`);
  return 0;
});
