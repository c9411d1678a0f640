import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ProcessPlan {
  readonly name: string;
  /** JavaScript file that Node runs. */
  readonly file: string;
  /** The whole environment of the process. */
  readonly env: NodeJS.ProcessEnv;
  /** Answers 200 once the process can be used. */
  readonly readyUrl: string;
  /**
   * Whether stack traces name the sources instead of the bundle, which takes some 70 MiB of memory and, as the collector has
   * more to look at, CPU of every request; images do without. True by default.
   */
  readonly sourceMaps?: boolean;
}

export interface ServiceProcess {
  readonly name: string;
  readonly pid: number | undefined;
  /** Resolves with the exit code when the process is gone and its output read; 128 + number for a signal. */
  readonly exited: Promise<number>;
  /** The newest lines of the output, oldest first. */
  readonly lastLines: readonly string[];
  /** Resolves when the ready URL answers 200. @throws Error when the process ends first or `deadlineMs` passes. */
  ready(deadlineMs?: number): Promise<void>;
  /** SIGTERM, then SIGKILL after `deadlineMs` (default 15000). Resolves with the exit code. */
  stop(deadlineMs?: number): Promise<number>;
  kill(signal: NodeJS.Signals): void;
}

const linesKept = 15;
const followParent = new URL('follow-parent.mjs', import.meta.url).href;

/** Starts Node on `plan.file`; `onLine` receives each line of both outputs. */
export function startProcess(plan: ProcessPlan, onLine: (line: string) => void): ServiceProcess {
  const options = ['--import', followParent, ...(plan.sourceMaps === false ? [] : ['--enable-source-maps'])];
  const child = spawn(process.execPath, [...options, plan.file], {
    env: plan.env,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // In its own group, Ctrl-C reaches the supervisor alone: two signals at once would cut the graceful stop short.
    detached: process.platform !== 'win32',
    windowsHide: true,
  });

  const lastLines: string[] = [];
  const keep = (line: string): void => {
    lastLines.push(line);
    if (lastLines.length > linesKept) lastLines.shift();
    onLine(line);
  };
  for (const input of [child.stdout, child.stderr]) {
    if (input) createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY }).on('line', keep);
  }

  let gone = false;
  const exited = new Promise<number>((resolve) => {
    child.once('error', (error) => {
      keep(error.message);
      if (child.pid === undefined) resolve(1);
    });
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
  void exited.then(() => {
    gone = true;
  });

  return {
    name: plan.name,
    pid: child.pid,
    exited,
    lastLines,
    async ready(deadlineMs = 60_000) {
      const deadline = performance.now() + deadlineMs;
      while (!gone) {
        if (await answers200(plan.readyUrl)) return;
        if (performance.now() > deadline) throw new Error(`${plan.name} is not ready after ${deadlineMs} ms`);
        await Promise.race([sleep(25), exited]);
      }
      throw new Error(`${plan.name} ended with exit code ${await exited} before it was ready`);
    },
    async stop(deadlineMs = 15_000) {
      // Windows has no SIGTERM that a process could heed; see follow-parent.mjs.
      if (process.platform !== 'win32') child.kill('SIGTERM');
      else if (child.connected) child.disconnect();
      const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
      const code = await exited;
      clearTimeout(timer);
      return code;
    },
    kill(signal) {
      child.kill(signal);
    },
  };
}

async function answers200(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}
