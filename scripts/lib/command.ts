import { StartupError } from '../../packages/chassis/src/startup-error.ts';

/** Runs a command of this folder: its number is the exit code; a StartupError is one line, any other error a stack. */
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

const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** One Ctrl-C may arrive twice: from the terminal, and passed on by npm. */
const sameSignalMs = 1_000;

/** Calls `stop` at the first signal that asks the process to end; a later one ends it at once with 130. */
export function onStopSignal(stop: () => void): void {
  let askedAt: number | undefined;
  for (const signal of stopSignals) {
    process.on(signal, () => {
      if (askedAt === undefined) {
        askedAt = performance.now();
        stop();
      } else if (performance.now() - askedAt > sameSignalMs) {
        process.exit(130);
      }
    });
  }
}
