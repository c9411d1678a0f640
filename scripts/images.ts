import { buildImages, runVisibly } from './lib/cluster.ts';
import { runCommand } from './lib/command.ts';
import { planPush } from './lib/images.ts';
import { selectServices, versionOf } from './lib/services.ts';

/**
 * `npm run images -- [service…]`: builds the images `zerda/<service>:local` of these services, or all, which compose.yaml uses.
 * If REGISTRY is set, it also pushes `<REGISTRY>/zerda/<service>:<tag>`. IMAGE_TAG sets the tag; the default is the version
 * of the service. BUILDER, NODE_IMAGE and RUNTIME_IMAGE work as for `npm run cluster:up`.
 */
await runCommand(async () => {
  const { REGISTRY: registry } = process.env;
  const names = selectServices(process.argv.slice(2));
  if (!registry) {
    await buildImages(process.env, undefined, { names });
    return 0;
  }
  await buildImages(
    process.env,
    async (name, { builder }) => {
      const { image, commands } = planPush(name, process.env.IMAGE_TAG || versionOf(name), {
        builder,
        registry,
      });
      for (const command of commands) await runVisibly(command);
      console.log(`pushed ${image}`);
    },
    { names },
  );
  return 0;
});
