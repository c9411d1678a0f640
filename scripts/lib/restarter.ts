import { type ProcessPlan, type ServiceProcess, startProcess } from './service-process.ts';

export interface RestarterOptions {
  readonly onLine: (line: string) => void;
  /** Told after each start, with the milliseconds since the restart was asked for. */
  readonly onReady: (ms: number) => void;
  /** Told when the process ends that nobody stopped. */
  readonly onDeath: (exitCode: number) => void;
}

/** Keeps at most one process of a service, which a restart replaces; one that dies stays down until the next restart. */
export interface Restarter {
  /** Stops the process if there is one, then starts it anew. Calls made meanwhile fold into one. */
  restart(): void;
  /** Stops the process for good. Resolves with its exit code, 0 when none ran. */
  stop(): Promise<number>;
}

export function createRestarter(plan: ProcessPlan, options: RestarterOptions): Restarter {
  let current: ServiceProcess | undefined;
  let work: Promise<void> | undefined;
  let wanted = false;
  let stopped = false;

  const replace = async (): Promise<void> => {
    while (wanted && !stopped) {
      wanted = false;
      const asked = performance.now();
      await stopCurrent();
      if (stopped) return;
      const started = startProcess(plan, options.onLine);
      current = started;
      void started.exited.then((code) => {
        if (current !== started) return;
        current = undefined;
        options.onDeath(code);
      });
      started.ready().then(
        () => options.onReady(performance.now() - asked),
        () => {
          // Its death, or the restart that stopped it, has been told already.
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
      wanted = true;
      work ??= replace().finally(() => {
        work = undefined;
      });
    },
    async stop() {
      stopped = true;
      await work;
      return stopCurrent();
    },
  };
}
