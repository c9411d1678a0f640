import { Agent, type OutgoingHttpHeaders, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

export interface SteadyLoadPlan {
  /** Loopback port of the server. */
  readonly port: number;
  readonly path: string;
  /** Requests per second, independent of the responses. */
  readonly perSecond: number;
  /** Milliseconds during which requests are sent; requests in flight at the end are completed. */
  readonly milliseconds: number;
  /** Milliseconds at the start whose requests are sent but not reported; 0 by default. */
  readonly ignoredMilliseconds?: number;
  /** Loopback addresses of the clients, used in turn. Default: 127.0.0.1 only. */
  readonly addresses?: readonly string[];
}

/** A complete response. */
export interface SteadyResponse {
  readonly status: number;
  /** Milliseconds from the scheduled time of the request to the last byte of the response. */
  readonly ms: number;
}

export interface SteadyLoadResult {
  readonly sent: number;
  readonly responses: readonly SteadyResponse[];
  /** Number of failed requests by error. */
  readonly errors: Readonly<Record<string, number>>;
}

/** A request of a mixed load. */
export interface SteadyRequest {
  /** Default: GET. */
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string;
  /** Local address of the connection. */
  readonly localAddress?: string | undefined;
  /** Sends the request on a connection of its own. By default connections are kept alive and reused. */
  readonly ownConnection?: boolean;
}

/** Outcome of a request. */
export interface SteadyOutcome {
  /** Time of sending, as `performance.now()`. */
  readonly sentAt: number;
  /** Time of the last byte or of the failure, as `performance.now()`. */
  readonly endedAt: number;
  /** Milliseconds from the scheduled time to the end. */
  readonly ms: number;
  /** Undefined without a complete response. */
  readonly status: number | undefined;
  /** Error of a request without a complete response. */
  readonly error: string | undefined;
  readonly retryAfter: string | undefined;
  readonly text: string;
}

export interface SteadyLoadOptions {
  readonly host: string;
  readonly port: number;
  /** Requests per second until `setPace` changes them. */
  readonly perSecond: number;
  /** Total number of requests. Default: unlimited. */
  readonly total?: number;
  /** Returns the request with the given index, starting at 0. */
  request(index: number): SteadyRequest;
  onOutcome(outcome: SteadyOutcome, index: number): void;
}

/** A running load. */
export interface SteadyLoad {
  /** Changes the number of requests per second. */
  setPace(perSecond: number): void;
  /** Resolves when `total` requests have been sent or the load was stopped, and all requests have ended. */
  readonly ended: Promise<void>;
  /** Resolves when all requests sent so far have ended. */
  settle(): Promise<void>;
  /** Sends no more requests. Resolves when all requests have ended. */
  stop(): Promise<void>;
}

/** Milliseconds without a received byte after which a request fails. */
const idleTimeoutMs = 15_000;

/**
 * Sends requests at a fixed pace, independent of the responses (open loop). `runLoad` is closed-loop: it sends the next request
 * after a response. No request is retried.
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
    // Timers can fire a fraction of a millisecond early.
    const startedAt = Math.min(dueAt, sentAt);
    return new Promise((resolve) => {
      let hasEnded = false;
      const end = (outcome: Pick<SteadyOutcome, 'status' | 'error' | 'retryAfter' | 'text'>): void => {
        if (hasEnded) return;
        hasEnded = true;
        const endedAt = performance.now();
        options.onOutcome({ ...outcome, sentAt, endedAt, ms: endedAt - startedAt }, index);
        resolve();
      };
      const fail = (error: NodeJS.ErrnoException): void =>
        end({ status: undefined, error: error.code ?? error.message, retryAfter: undefined, text: '' });
      const sending = request(
        {
          host,
          port,
          method,
          path,
          headers,
          localAddress,
          agent: ownConnection ? false : agent,
          timeout: idleTimeoutMs,
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
      sending.once('timeout', () => sending.destroy(new Error(`no response within ${idleTimeoutMs} ms`)));
      sending.on('error', fail);
      sending.end(body);
    });
  }

  async function run(): Promise<void> {
    let dueAt = performance.now();
    for (let index = 0; index < total; index += 1) {
      const waitMs = dueAt - performance.now();
      if (waitMs > 0) await wait(waitMs);
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

/** Sends the same GET request at a fixed pace for a limited time. */
export async function runSteadyLoad(plan: SteadyLoadPlan): Promise<SteadyLoadResult> {
  const { port, path, perSecond, milliseconds, ignoredMilliseconds = 0, addresses = [] } = plan;
  const total = Math.round((perSecond * milliseconds) / 1000);
  const ignored = Math.round((perSecond * ignoredMilliseconds) / 1000);
  const responses: SteadyResponse[] = [];
  const errors: Record<string, number> = {};
  const load = startSteadyLoad({
    host: '127.0.0.1',
    port,
    perSecond,
    total,
    request: (index) => ({ path, localAddress: addresses[index % addresses.length] }),
    onOutcome({ status, error = '', ms }, index) {
      if (index < ignored) return;
      if (status === undefined) errors[error] = (errors[error] ?? 0) + 1;
      else responses.push({ status, ms });
    },
  });
  await load.ended;
  return { sent: total - ignored, responses, errors };
}
