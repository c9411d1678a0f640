import { type ProcessPlan, type ServiceProcess, startProcess } from './service-process.ts';

export interface SupervisorOptions {
  readonly onLine: (service: string, line: string) => void;
  /** Called once, when a service ends without being stopped. */
  readonly onUnexpectedExit: (service: ServiceProcess, exitCode: number) => void;
  /** Milliseconds from SIGTERM to SIGKILL; 15,000 by default. */
  readonly stopDeadlineMs?: number;
}

export interface Supervisor {
  readonly processes: readonly ServiceProcess[];
  /** Resolves when all services are ready. Stays pending when one ends first; see `ended`. */
  readonly ready: Promise<void>;
  /** Resolves when every process has ended: with the exit code of the first unexpected exit, otherwise the highest code. */
  readonly ended: Promise<number>;
  stop(): void;
}

/** Starts several processes. None is restarted: when one ends, the others are stopped. */
export function supervise(plans: readonly ProcessPlan[], options: SupervisorOptions): Supervisor {
  const processes = plans.map((plan) => startProcess(plan, (line) => options.onLine(plan.name, line)));
  let stopping = false;
  let unexpectedExitCode: number | undefined;

  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    for (const process of processes) void process.stop(options.stopDeadlineMs);
  };

  const codes = processes.map(async (process) => {
    const code = await process.exited;
    if (!stopping) {
      unexpectedExitCode = code;
      options.onUnexpectedExit(process, code);
      stop();
    }
    return code;
  });

  return {
    processes,
    ready: new Promise((resolve, reject) => {
      Promise.all(processes.map((process) => process.ready())).then(
        () => resolve(),
        (error) => {
          // `ended` reports an exit; this reports a service that runs but does not become ready.
          if (!stopping) reject(error);
        },
      );
    }),
    ended: Promise.all(codes).then((all) => unexpectedExitCode ?? Math.max(...all)),
    stop,
  };
}
