import closeWithGrace from 'close-with-grace';
import { describeError } from '../logging/describe-error.ts';
import type { Logger } from '../logging/logger.ts';
import { StartupError } from '../startup-error.ts';
import type { Lifecycle } from './lifecycle.ts';

/**
 * Shuts the process down on SIGTERM and SIGINT: closes all resources and exits with 0. After an uncaught exception it
 * also closes all resources, but exits with 1. A second signal, or a timeout of the shutdown, exits with 1 at once.
 */
export function endOnSignals({ lifecycle, logger }: { lifecycle: Lifecycle; logger: Logger }): void {
  closeWithGrace({ delay: lifecycle.shutdownMs, logger: false }, async ({ err, signal }) => {
    if (err === undefined) logger.info({ signal }, 'stopping');
    else logger.fatal({ err }, 'stopping after uncaught exception');
    await lifecycle.shutdown();
    if (err === undefined) logger.info('stopped');
  });
}

/**
 * Runs the composition root of a service. If it fails, writes the error to standard error and exits. A `StartupError`
 * is one line with its exit code; any other error has its stack and code 1.
 */
export async function runService(service: string, start: () => Promise<void>): Promise<void> {
  try {
    await start();
  } catch (error) {
    const expected = error instanceof StartupError;
    process.stderr.write(`${service}: ${expected ? error.message : stackOf(error)}\n`);
    process.exit(expected ? error.exitCode : 1);
  }
}

/** Called only for bugs: source maps need more memory than a small container may have. */
function stackOf(error: unknown): string {
  const { message, stack = message } = describeError(error);
  return stack;
}
