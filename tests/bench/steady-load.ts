import { Agent, type OutgoingHttpHeaders, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

export interface SteadyLoadPlan {
  /** Port of the loopback. */
  readonly port: number;
  readonly path: string;
  /** Requests that are sent in a second, whatever becomes of those before. */
  readonly perSecond: number;
  /** Milliseconds in which requests are sent; their answers are waited for. */
  readonly milliseconds: number;
  /** Loopback addresses that requests come from in turn; that of the machine alone by default. */
  readonly addresses?: readonly string[];
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

/** One request of a load that is made of different ones. */
export interface SteadyRequest {
  /** Default GET. */
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string;
  /** Address that it comes from. */
  readonly localAddress?: string | undefined;
  /** Sends it on a connection that is opened for it and closed after it; by default connections are kept. */
  readonly ownConnection?: boolean;
}

/** What became of a request. */
export interface SteadyOutcome {
  /** When it was sent, as `performance.now()` tells. */
  readonly sentAt: number;
  /** When its last byte came, or it failed. */
  readonly endedAt: number;
  /** Milliseconds from when it was due to its end. */
  readonly ms: number;
  /** Undefined without a whole answer. */
  readonly status: number | undefined;
  /** Why there was no whole answer. */
  readonly error: string | undefined;
  readonly retryAfter: string | undefined;
  readonly text: string;
}

export interface SteadyLoadOptions {
  readonly host: string;
  readonly port: number;
  /** Requests that are sent in a second, until the pace is changed. */
  readonly perSecond: number;
  /** Requests after which no more are sent; default: none. */
  readonly total?: number;
  /** The request with this number, from 0. */
  request(index: number): SteadyRequest;
  onOutcome(outcome: SteadyOutcome, index: number): void;
}

/** A load that is running. */
export interface SteadyLoad {
  /** Sends this many requests in a second from now on. */
  setPace(perSecond: number): void;
  /** Ends when `total` requests have been sent, or it was stopped, and all of them have ended. */
  readonly ended: Promise<void>;
  /** Waits for all requests that have been sent so far. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/** Milliseconds without a byte after which an answer is not waited for any longer. */
const patienceMs = 15_000;

/**
 * Sends requests at a fixed pace, as many people do who know nothing of each other: a slow server gets as many as a
 * fast one, and one that refuses at once gets no more. Nothing is sent twice. `runLoad` is the other kind, which asks
 * again when it is answered.
 */
export function startSteadyLoad(options: SteadyLoadOptions): SteadyLoad {
  const { host, port, total = Number.POSITIVE_INFINITY } = options;
  const agent = new Agent({ keepAlive: true, maxFreeSockets: Number.POSITIVE_INFINITY });
  const running = new Set<Promise<void>>();
  let { perSecond } = options;
  let stopped = false;

  function send(index: number, dueAt: number): Promise<void> {
    const { method = 'GET', path, headers, body, localAddress, ownConnection } = options.request(index);
    const sentAt = performance.now();
    // Timers may be early by part of a millisecond.
    const countedFrom = Math.min(dueAt, sentAt);
    return new Promise((resolve) => {
      let over = false;
      const end = (outcome: Pick<SteadyOutcome, 'status' | 'error' | 'retryAfter' | 'text'>): void => {
        if (over) return;
        over = true;
        const endedAt = performance.now();
        options.onOutcome({ ...outcome, sentAt, endedAt, ms: endedAt - countedFrom }, index);
        resolve();
      };
      const fail = (error: NodeJS.ErrnoException): void =>
        end({ status: undefined, error: error.code ?? error.message, retryAfter: undefined, text: '' });
      const sending = request(
        {
          ...{ host, port, method, path, headers, localAddress },
          agent: ownConnection ? false : agent,
          timeout: patienceMs,
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (piece: string) => {
            text += piece;
          });
          response.once('error', fail);
          response.once('end', () => {
            const retryAfter = response.headers['retry-after'];
            end({ status: response.statusCode ?? 0, error: undefined, retryAfter, text });
          });
        },
      );
      sending.once('timeout', () => sending.destroy(new Error(`no answer within ${patienceMs} ms`)));
      sending.on('error', fail);
      sending.end(body);
    });
  }

  async function run(): Promise<void> {
    let dueAt = performance.now();
    for (let index = 0; index < total; index += 1) {
      const early = dueAt - performance.now();
      if (early > 0) await wait(early);
      if (stopped) break;
      const sent = send(index, dueAt).finally(() => running.delete(sent));
      running.add(sent);
      dueAt += 1000 / perSecond;
    }
    await Promise.all(running);
    agent.destroy();
  }

  const ended = run();
  return {
    ended,
    setPace(pace) {
      perSecond = pace;
    },
    async settle() {
      await Promise.all(running);
    },
    stop() {
      stopped = true;
      return ended;
    },
  };
}

/** The same GET request at a fixed pace, for some time. */
export async function runSteadyLoad(plan: SteadyLoadPlan): Promise<SteadyLoadResult> {
  const { port, path, perSecond, milliseconds, addresses = [] } = plan;
  const total = Math.round((perSecond * milliseconds) / 1000);
  const answers: SteadyAnswer[] = [];
  const errors: Record<string, number> = {};
  const load = startSteadyLoad({
    ...{ host: '127.0.0.1', port, perSecond, total },
    request: (index) => ({ path, localAddress: addresses[index % addresses.length] }),
    onOutcome({ status, error = '', ms }) {
      if (status === undefined) errors[error] = (errors[error] ?? 0) + 1;
      else answers.push({ status, ms });
    },
  });
  await load.ended;
  return { sent: total, answers, errors };
}
