import { Agent, get } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

export interface SteadyLoadPlan {
  /** Port of the loopback. */
  readonly port: number;
  readonly path: string;
  /** Requests that are sent in a second, whatever becomes of those before. */
  readonly perSecond: number;
  /** Milliseconds in which requests are sent; their answers are waited for. */
  readonly milliseconds: number;
}

/** A whole answer. */
export interface SteadyAnswer {
  readonly status: number;
  /** Milliseconds from when its request was due to its last byte; a generator that is late makes nothing look faster. */
  readonly ms: number;
}

export interface SteadyLoadResult {
  readonly sent: number;
  readonly answers: readonly SteadyAnswer[];
  /** Why there was no whole answer, with how often. */
  readonly errors: Readonly<Record<string, number>>;
}

/** Milliseconds without a byte after which an answer is not waited for any longer. */
const patienceMs = 15_000;

/**
 * Sends GET requests at a fixed pace, as many people do who know nothing of each other: a slow server gets as many as a
 * fast one, and one that refuses at once gets no more. `runLoad` is the other kind, which asks again when it is
 * answered.
 */
export async function runSteadyLoad(plan: SteadyLoadPlan): Promise<SteadyLoadResult> {
  const { port, path, perSecond, milliseconds } = plan;
  const agent = new Agent({ keepAlive: true, maxFreeSockets: Number.POSITIVE_INFINITY });
  const total = Math.round((perSecond * milliseconds) / 1000);
  const answers: SteadyAnswer[] = [];
  const errors: Record<string, number> = {};
  const startedAt = performance.now();

  function send(dueAt: number): Promise<void> {
    // Timers may be early by part of a millisecond.
    const countedFrom = Math.min(dueAt, performance.now());
    return new Promise((resolve) => {
      const fail = (error: NodeJS.ErrnoException): void => {
        const reason = error.code ?? error.message;
        errors[reason] = (errors[reason] ?? 0) + 1;
        resolve();
      };
      const request = get({ host: '127.0.0.1', port, path, agent, timeout: patienceMs }, (response) => {
        response.once('error', fail);
        response.once('end', () => {
          answers.push({ status: response.statusCode ?? 0, ms: performance.now() - countedFrom });
          resolve();
        });
        response.resume();
      });
      request.once('timeout', () => request.destroy(new Error(`no answer within ${patienceMs} ms`)));
      request.once('error', fail);
    });
  }

  const requests: Promise<void>[] = [];
  while (requests.length < total) {
    const dueAt = startedAt + (requests.length * 1000) / perSecond;
    const early = dueAt - performance.now();
    if (early > 0) await wait(early);
    requests.push(send(dueAt));
  }
  await Promise.all(requests);
  agent.destroy();
  return { sent: total, answers, errors };
}
