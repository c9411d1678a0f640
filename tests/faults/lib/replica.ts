import { setTimeout as wait } from 'node:timers/promises';
import { type ProcessPlan, type ServiceProcess, startProcess } from '../../../scripts/lib/service-process.ts';

/** One process of a service, which is started again when it ends, as a kubelet does. */
export interface Replica {
  readonly name: string;
  /** The newest lines of all its runs. */
  readonly lines: readonly string[];
  /** False from its end until it is started again. */
  readonly running: boolean;
  /** Deaths that nobody has caused, in words. */
  readonly deaths: readonly string[];
  /** SIGKILL; it is started again `afterMs` later. */
  kill(afterMs: number): void;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
  /** Resolves when it is ready. @throws Error when that takes longer than `deadlineMs`, or it is stopped */
  ready(deadlineMs?: number): Promise<void>;
  stop(): Promise<void>;
}

const linesKept = 200;
/** Milliseconds until one that ended by itself is started again. */
const restartMs = 500;

export function startReplica(plan: ProcessPlan): Replica {
  const lines: string[] = [];
  const deaths: string[] = [];
  let current: ServiceProcess | undefined;
  let killedFor: number | undefined;
  let stopped = false;

  async function run(): Promise<void> {
    while (!stopped) {
      killedFor = undefined;
      current = startProcess(plan, (line) => {
        lines.push(line);
        if (lines.length > linesKept) lines.shift();
      });
      const code = await current.exited;
      current = undefined;
      if (stopped) return;
      if (killedFor === undefined) deaths.push([`exit code ${code}`, ...lines.slice(-5)].join('\n  '));
      await wait(killedFor ?? restartMs);
    }
  }
  const running = run();

  return {
    name: plan.name,
    lines,
    deaths,
    get running() {
      return current !== undefined;
    },
    kill(afterMs) {
      if (current === undefined) return;
      killedFor = afterMs;
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
