import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { buildImages, runVisibly } from './lib/cluster.ts';
import { runCommand } from './lib/command.ts';
import { planPush } from './lib/images.ts';
import { root, selectServices } from './lib/services.ts';

/**
 * `npm run images -- [service…]`: builds the images `zerda/<service>:local` of these services, or all, which compose.yaml uses.
 * If REGISTRY is set, it also pushes `<REGISTRY>/zerda/<service>:<tag>`. IMAGE_TAG sets the tag; the default is the chart's
 * appVersion. BUILDER, NODE_IMAGE and RUNTIME_IMAGE work as for `npm run cluster:up`.
 */
await runCommand(async () => {
  const { REGISTRY: registry } = process.env;
  const names = selectServices(process.argv.slice(2));
  if (!registry) {
    await buildImages(process.env, undefined, names);
    return 0;
  }
  const tag = process.env.IMAGE_TAG || (await chartTag());
  await buildImages(
    process.env,
    async (name, { builder }) => {
      const { image, commands } = planPush(name, tag, { builder, registry });
      for (const command of commands) await runVisibly(command);
      console.log(`pushed ${image}`);
    },
    names,
  );
  return 0;
});

/** Returns the default image tag of the chart. */
async function chartTag(): Promise<string> {
  const { appVersion } = parse(await readFile(join(root, 'charts/zerda/Chart.yaml'), 'utf8')) as {
    appVersion: string;
  };
  return appVersion;
}
