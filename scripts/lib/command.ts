import { type ParseArgsConfig, parseArgs } from 'node:util';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';

/** Runs a command and sets the exit code. Prints only the message of a StartupError, and the stack of other errors. */
export async function runCommand(command: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await command();
  } catch (error) {
    if (error instanceof StartupError) {
      console.error(error.message);
      process.exitCode = error.exitCode;
    } else {
      console.error(error);
      process.exitCode = 1;
    }
  }
}

/** Parses the arguments of the process as `parseArgs` does. @throws StartupError (78) with the usage if they are invalid */
export function parseArguments<Config extends ParseArgsConfig>(
  config: Config,
  usage: string,
): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config);
  } catch (cause) {
    throw new StartupError(`${(cause as Error).message}. ${usage}`, 78);
  }
}

const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** One Ctrl-C may arrive twice: from the terminal and from npm. */
const sameSignalMs = 1_000;

/** Calls `stop` at the first stop signal. A later signal ends the process at once with exit code 130. */
export function onStopSignal(stop: () => void): void {
  let firstSignalAt: number | undefined;
  for (const signal of stopSignals) {
    process.on(signal, () => {
      if (firstSignalAt === undefined) {
        firstSignalAt = performance.now();
        stop();
      } else if (performance.now() - firstSignalAt > sameSignalMs) {
        process.exit(130);
      }
    });
  }
}
