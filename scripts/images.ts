import { buildImages } from './lib/cluster.ts';
import { runCommand } from './lib/command.ts';

/**
 * `npm run images`: builds `zerda/<service>:local` for each service, which compose.yaml runs. BUILDER, NODE_IMAGE and RUNTIME_IMAGE
 * as for `npm run cluster:up`.
 */
await runCommand(async () => {
  await buildImages(process.env);
  return 0;
});
