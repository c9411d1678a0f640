import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { runCommand } from '../../scripts/lib/command.ts';
import { compare } from './compare.ts';
import { soak } from './soak.ts';
import { openStage } from './stage.ts';

/**
 * `npm run bench`, with `-- --quick` or `-- --soak`: the gateway beside other proxies, or by itself for five minutes.
 * Exit code 1 says that the figures cannot be trusted, or that memory grew in a soak; a missed goal is only told.
 */
await runCommand(async () => {
  const words = process.argv.slice(2);
  const [option] = words;
  if (words.length > 1 || (option !== undefined && option !== '--quick' && option !== '--soak')) {
    throw new StartupError(
      'Usage: npm run bench, or npm run bench -- --quick, or npm run bench -- --soak',
      78,
    );
  }
  const stage = await openStage();
  try {
    if (option === '--soak') return await soak(stage);
    return await compare(stage, option === '--quick' ? 'quick' : 'normal');
  } finally {
    await stage.close();
  }
});
