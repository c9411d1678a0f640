import { runCommand } from './lib/command.ts';
import { removeData } from './lib/reset.ts';
import { planSystem } from './lib/services.ts';

/** `npm run reset`: removes the embedded databases. The next start creates new ones with the demo data. */
await runCommand(async () => {
  const { dataDir } = planSystem(process.env);
  const removed = await removeData(dataDir);
  for (const folder of removed) console.log(`removed ${folder}`);
  if (removed.length === 0) console.log(`nothing to remove in ${dataDir}`);
  return 0;
});
