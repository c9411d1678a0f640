import closeWithGrace from 'close-with-grace';
import { describeError } from '../logging/describe-error.ts';
import type { Logger } from '../logging/logger.ts';
import { StartupError } from '../startup-error.ts';
import type { Lifecycle } from './lifecycle.ts';

/**
 * Ends the process on SIGTERM and SIGINT: resources are closed and it exits with 0. A second signal, or a close that
 * outlasts the deadline, ends it at once with 1; so does an error nobody caught, after closing.
 */
export function endOnSignals({ lifecycle, logger }: { lifecycle: Lifecycle; logger: Logger }): void {
  closeWithGrace({ delay: lifecycle.shutdownMs, logger: false }, async ({ err, signal }) => {
    if (err === undefined) logger.info({ signal }, 'stopping');
    else logger.fatal({ err }, 'stopping after an error nobody caught');
    await lifecycle.shutdown();
    if (err === undefined) logger.info('stopped');
  });
}

/**
 * What a service is asked to do: `serve` until it is stopped, which is the default, `migrate` its database and end, or work on its
 * `events`, or on what else it has, as the words after that say.
 * @param own commands that only this service has
 * @throws StartupError (78) for anything else
 */
export function readCommand<Own extends string = never>(
  words: readonly string[],
  own: readonly Own[] = [],
): 'serve' | 'migrate' | 'events' | Own {
  const [command = 'serve', ...rest] = words;
  const withWords = (['events', ...own] as const).find((name) => name === command);
  if (withWords !== undefined) return withWords;
  if ((command === 'serve' || command === 'migrate') && rest.length === 0) return command;
  const known = ['serve', 'migrate', 'events', ...own].join(', ');
  throw new StartupError(`"${words.join(' ')}" is not known: say ${known}, or nothing`, 78);
}

/**
 * Runs a service's composition root. An error of starting is told in one line on standard error and ends the process:
 * a `StartupError` with its exit code, anything else with its stack and 1.
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

/** Read for faults alone: the source map that a stack is read with takes more memory than a small container may have. */
function stackOf(error: unknown): string {
  const { message, stack = message } = describeError(error);
  return stack;
}
