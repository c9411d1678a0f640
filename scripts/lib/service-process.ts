import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ProcessPlan {
  readonly name: string;
  /** Path of the JavaScript file to run. */
  readonly file: string;
  /** Complete environment of the process. */
  readonly env: NodeJS.ProcessEnv;
  /** URL that returns 200 when the process is ready. */
  readonly readyUrl: string;
  /**
   * Whether stack traces refer to the sources instead of the bundle; true by default. Source maps use about 70 MiB of memory
   * and more CPU for garbage collection, so images run without them.
   */
  readonly sourceMaps?: boolean;
}

export interface ServiceProcess {
  readonly name: string;
  readonly pid: number | undefined;
  /** Resolves with the exit code when the process has ended and its output has been read; 128 + number for a signal. */
  readonly exited: Promise<number>;
  /** The last lines of the output, oldest first. */
  readonly lastLines: readonly string[];
  /** Resolves when the ready URL returns 200. @throws Error when the process ends first or `deadlineMs` passes */
  ready(deadlineMs?: number): Promise<void>;
  /** Sends SIGTERM, then SIGKILL after `deadlineMs` (15,000 by default). Resolves with the exit code. */
  stop(deadlineMs?: number): Promise<number>;
  kill(signal: NodeJS.Signals): void;
}

const maxLines = 15;
const preloads = ['follow-parent.mjs', 'late-wasm-tiering.mjs'].map(
  (name) => new URL(name, import.meta.url).href,
);

/** Starts Node with `plan.file`. `onLine` receives each line of standard output and standard error. */
export function startProcess(plan: ProcessPlan, onLine: (line: string) => void): ServiceProcess {
  const options = [
    ...preloads.flatMap((preload) => ['--import', preload]),
    ...(plan.sourceMaps === false ? [] : ['--enable-source-maps']),
  ];
  const child = spawn(process.execPath, [...options, plan.file], {
    env: plan.env,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // In its own process group, so that Ctrl-C reaches only the supervisor: a second signal would abort the graceful stop.
    detached: process.platform !== 'win32',
    windowsHide: true,
  });

  const lastLines: string[] = [];
  const addLine = (line: string): void => {
    lastLines.push(line);
    if (lastLines.length > maxLines) lastLines.shift();
    onLine(line);
  };
  for (const input of [child.stdout, child.stderr]) {
    if (input) createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY }).on('line', addLine);
  }

  let hasExited = false;
  const exited = new Promise<number>((resolve) => {
    child.once('error', (error) => {
      addLine(error.message);
      if (child.pid === undefined) resolve(1);
    });
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
  void exited.then(() => {
    hasExited = true;
  });

  return {
    name: plan.name,
    pid: child.pid,
    exited,
    lastLines,
    async ready(deadlineMs = 60_000) {
      const deadline = performance.now() + deadlineMs;
      while (!hasExited) {
        if (await returns200(plan.readyUrl)) return;
        if (performance.now() > deadline) throw new Error(`${plan.name} is not ready after ${deadlineMs} ms`);
        await Promise.race([sleep(25), exited]);
      }
      throw new Error(`${plan.name} ended with exit code ${await exited} before it was ready`);
    },
    async stop(deadlineMs = 15_000) {
      // On Windows a process cannot handle SIGTERM; see follow-parent.mjs.
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

async function returns200(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}
