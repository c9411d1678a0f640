import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { runCommand } from '../../scripts/lib/command.ts';
import { measureBrownout } from './brownout.ts';

/**
 * `npm run brownout`: measures the gateway while its upstream is slow or fails, and writes the table into docs/brownout.md.
 * `-- --quick` measures four cells and only prints them. Exit code 1: the results are invalid or the gateway did not recover.
 */
await runCommand(async () => {
  const args = process.argv.slice(2);
  const [option] = args;
  if (args.length > 1 || (option !== undefined && option !== '--quick')) {
    throw new StartupError('Unknown option. Usage: npm run brownout, or npm run brownout -- --quick', 78);
  }
  return measureBrownout(option === '--quick' ? 'quick' : 'normal');
});
