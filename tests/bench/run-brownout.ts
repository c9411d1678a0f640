import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { runCommand } from '../../scripts/lib/command.ts';
import { brownOut } from './brownout.ts';

/**
 * `npm run brownout`, with `-- --quick` for four cells that are printed only: the same load on the gateway while its
 * upstream is slow and fails. Exit code 1 says that the figures cannot be trusted, or that the gateway did not recover.
 */
await runCommand(async () => {
  const words = process.argv.slice(2);
  const [option] = words;
  if (words.length > 1 || (option !== undefined && option !== '--quick')) {
    throw new StartupError('Usage: npm run brownout, or npm run brownout -- --quick', 78);
  }
  return brownOut(option === '--quick' ? 'quick' : 'normal');
});
