import { type ProcessPlan, type ServiceProcess, startProcess } from './service-process.ts';

export interface SupervisorOptions {
  readonly onLine: (service: string, line: string) => void;
  /** Told once, when a service ends that nobody asked to. */
  readonly onDeath: (service: ServiceProcess, exitCode: number) => void;
  /** Time a service has to end after SIGTERM before it is killed, in milliseconds. Default 15000. */
  readonly stopDeadlineMs?: number;
}

export interface Supervisor {
  readonly processes: readonly ServiceProcess[];
  /** Resolves when all are ready; never settles when one dies first, see `ended`. */
  readonly ready: Promise<void>;
  /** Resolves when every process is gone: with the code of the first that died unasked, else the worst of the stop. */
  readonly ended: Promise<number>;
  stop(): void;
}

/** Runs processes that live and die together: none is restarted, and one that ends takes the others with it. */
export function supervise(plans: readonly ProcessPlan[], options: SupervisorOptions): Supervisor {
  const processes = plans.map((plan) => startProcess(plan, (line) => options.onLine(plan.name, line)));
  let stopping = false;
  let deathCode: number | undefined;

  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    for (const process of processes) void process.stop(options.stopDeadlineMs);
  };

  const codes = processes.map(async (process) => {
    const code = await process.exited;
    if (!stopping) {
      deathCode = code;
      options.onDeath(process, code);
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
          // A death is reported by `ended`; what is left is a service that runs without ever becoming ready.
          if (!stopping) reject(error);
        },
      );
    }),
    ended: Promise.all(codes).then((all) => deathCode ?? Math.max(...all)),
    stop,
  };
}
