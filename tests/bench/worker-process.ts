import { fork } from 'node:child_process';
import { once } from 'node:events';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';

/** A child process that handles one call at a time. */
export interface WorkerProcess<Input, Result> {
  /**
   * Sends the input to the process and resolves with its result.
   * @throws StartupError if the process ends before it has sent the result
   */
  call(input: Input): Promise<Result>;
  /** Sends SIGKILL. Resolves when the process has ended. */
  stop(): Promise<void>;
}

/** Starts a file that calls `serveParent` in a child process, so that its work does not delay this process. */
export function startWorker<Input extends object, Result>(url: URL): WorkerProcess<Input, Result> {
  // The child inherits the options of this process, including tsx.
  const child = fork(url);
  const exited = once(child, 'exit');
  return {
    async call(input) {
      const ended = exited.then(() => {
        throw new StartupError(
          `The run was aborted because ${url.pathname.split('/').at(-1)} ended. Start it again.`,
        );
      });
      const responded = once(child, 'message');
      if (child.connected) child.send(input);
      const [result] = await Promise.race([responded, ended]);
      return result as Result;
    },
    async stop() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Handles the calls of the parent in a process started by `startWorker`. The process ends with its parent. */
export function serveParent<Input, Result>(handle: (input: Input) => Promise<Result>): void {
  process.on('message', async (input: Input) => {
    process.send?.(await handle(input));
  });
  process.on('disconnect', () => process.exit());
  // Ctrl-C reaches every process of the terminal; the parent stops its workers itself.
  process.on('SIGINT', () => undefined);
}
