import { setTimeout as wait } from 'node:timers/promises';
import { type ProcessPlan, type ServiceProcess, startProcess } from '../../../scripts/lib/service-process.ts';

/** A process of a service that is restarted when it exits, as by a kubelet. */
export interface Replica {
  readonly name: string;
  /** Last log lines of all its runs. */
  readonly lines: readonly string[];
  /** False between exit and restart. */
  readonly running: boolean;
  /** Descriptions of exits that the test did not cause. */
  readonly unexpectedExits: readonly string[];
  /** Sends SIGKILL and restarts the process `afterMs` later. */
  kill(afterMs: number): void;
  /** Sends SIGSTOP. */
  pause(): void;
  /** Sends SIGCONT. */
  resume(): void;
  /** Resolves when it is ready. @throws Error when that takes longer than `deadlineMs`, or when it is stopped */
  ready(deadlineMs?: number): Promise<void>;
  stop(): Promise<void>;
}

const maxLines = 200;
/** Milliseconds from an unexpected exit to the restart. */
const restartMs = 500;

export function startReplica(plan: ProcessPlan): Replica {
  const lines: string[] = [];
  const unexpectedExits: string[] = [];
  let current: ServiceProcess | undefined;
  let restartAfterMs: number | undefined;
  let stopped = false;

  async function run(): Promise<void> {
    while (!stopped) {
      restartAfterMs = undefined;
      current = startProcess(plan, (line) => {
        lines.push(line);
        if (lines.length > maxLines) lines.shift();
      });
      const code = await current.exited;
      current = undefined;
      if (stopped) return;
      if (restartAfterMs === undefined)
        unexpectedExits.push([`exit code ${code}`, ...lines.slice(-5)].join('\n  '));
      await wait(restartAfterMs ?? restartMs);
    }
  }
  const running = run();

  return {
    name: plan.name,
    lines,
    unexpectedExits,
    get running() {
      return current !== undefined;
    },
    kill(afterMs) {
      if (current === undefined) return;
      restartAfterMs = afterMs;
      current.kill('SIGKILL');
    },
    pause: () => current?.kill('SIGSTOP'),
    resume: () => current?.kill('SIGCONT'),
    async ready(deadlineMs = 30_000) {
      const giveUpAt = performance.now() + deadlineMs;
      while (!stopped) {
        try {
          if (current === undefined) throw new Error(`${plan.name} is not running`);
          return await current.ready(Math.max(1, giveUpAt - performance.now()));
        } catch (error) {
          if (performance.now() > giveUpAt) {
            throw new Error([(error as Error).message, ...lines.slice(-5)].join('\n  '), { cause: error });
          }
        }
        await wait(50);
      }
      throw new Error(`${plan.name} was stopped before it was ready`);
    },
    async stop() {
      stopped = true;
      current?.kill('SIGCONT');
      await current?.stop(5000);
      await running;
    },
  };
}
