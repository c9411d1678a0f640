import { type ProcessPlan, type ServiceProcess, startProcess } from './service-process.ts';

export interface RestarterOptions {
  readonly onLine: (line: string) => void;
  /** Called after each start, with the milliseconds since the restart was requested. */
  readonly onReady: (ms: number) => void;
  /** Called when the process ends without being stopped. */
  readonly onUnexpectedExit: (exitCode: number) => void;
}

/** Runs at most one process of a service. A process that ends stays down until the next restart. */
export interface Restarter {
  /** Stops the running process, if any, and starts a new one. Calls during a restart are combined into one. */
  restart(): void;
  /** Stops the process for good. Resolves with its exit code, or 0 if none was running. */
  stop(): Promise<number>;
}

export function createRestarter(plan: ProcessPlan, options: RestarterOptions): Restarter {
  let current: ServiceProcess | undefined;
  let replacement: Promise<void> | undefined;
  let restartRequested = false;
  let stopped = false;

  const replace = async (): Promise<void> => {
    while (restartRequested && !stopped) {
      restartRequested = false;
      const requestedAt = performance.now();
      await stopCurrent();
      if (stopped) return;
      const started = startProcess(plan, options.onLine);
      current = started;
      void started.exited.then((code) => {
        if (current !== started) return;
        current = undefined;
        options.onUnexpectedExit(code);
      });
      started.ready().then(
        () => options.onReady(performance.now() - requestedAt),
        () => {
          // The exit has already been reported, or a restart stopped the process.
        },
      );
    }
  };

  const stopCurrent = async (): Promise<number> => {
    const stopping = current;
    current = undefined;
    return (await stopping?.stop()) ?? 0;
  };

  return {
    restart() {
      restartRequested = true;
      replacement ??= replace().finally(() => {
        replacement = undefined;
      });
    },
    async stop() {
      stopped = true;
      await replacement;
      return stopCurrent();
    },
  };
}
