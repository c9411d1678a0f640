import { Agent, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

/** A whole response, with its JSON read. */
export interface Response {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  // The tests look into responses whose shape is what they check.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  readonly body: any;
  /** Length of the body. */
  readonly bytes: number;
  /** Milliseconds from the first byte sent to the last one received. */
  readonly ms: number;
}

export interface RequestOptions {
  /** Loopback address that the request comes from: clients at different addresses are different clients. Default: 127.0.0.1. */
  readonly from?: string;
  readonly token?: string | undefined;
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Sends requests to the gateway, from any loopback address. */
export interface Client {
  send(method: string, path: string, options?: RequestOptions): Promise<Response>;
  /** Closes the connections. */
  close(): void;
}

/** Milliseconds after which a request without a response is a failure of the test. */
const timeoutMs = 20_000;

export function createClient(baseUrl: string): Client {
  const agents = new Map<string, Agent>();
  const agentOf = (address: string): Agent => {
    const agent = agents.get(address) ?? new Agent({ keepAlive: true, localAddress: address });
    agents.set(address, agent);
    return agent;
  };
  return {
    send: (method, path, { from = '127.0.0.1', token, json, headers = {} } = {}) =>
      new Promise((resolve, reject) => {
        const startedAt = performance.now();
        const text = json === undefined ? undefined : JSON.stringify(json);
        const sent = request(
          `${baseUrl}${path}`,
          {
            method,
            agent: agentOf(from),
            signal: AbortSignal.timeout(timeoutMs),
            headers: {
              ...(text !== undefined && { 'content-type': 'application/json' }),
              ...(token !== undefined && { authorization: `Bearer ${token}` }),
              ...headers,
            },
          },
          (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.once('error', reject);
            response.once('end', () => {
              const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
              const received = Buffer.concat(chunks).toString();
              const isJson = /\bjson\b/.test(response.headers['content-type'] ?? '');
              resolve({
                status: response.statusCode ?? 0,
                headers: response.headers,
                bytes,
                body: isJson && received !== '' ? JSON.parse(received) : undefined,
                ms: performance.now() - startedAt,
              });
            });
          },
        );
        sent.once('error', reject).end(text);
      }),
    close() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

/** Requests in flight at most: an attacker has more patience than this, and not more connections. */
const maxInFlight = 400;

/** A steady flood, until it is stopped. */
export interface Flood {
  /** Stops, waits for the responses, and returns their number by status; `error` counts connections that broke. */
  stop(): Promise<Readonly<Record<string, number>>>;
}

/** Sends `perSecond` requests a second, whatever the responses to those before. */
export function startFlood(perSecond: number, sendNext: (index: number) => Promise<Response>): Flood {
  const outcomes: Record<string, number> = {};
  const inFlight = new Set<Promise<void>>();
  let stopped = false;

  function sendOne(index: number): void {
    const done = sendNext(index)
      .then(({ status }) => String(status))
      .catch(() => 'error')
      .then((outcome) => {
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
        inFlight.delete(done);
      });
    inFlight.add(done);
  }

  async function run(): Promise<void> {
    const startedAt = performance.now();
    for (let index = 0; !stopped; ) {
      const due = ((performance.now() - startedAt) / 1000) * perSecond;
      for (; index < due && inFlight.size < maxInFlight; index += 1) sendOne(index);
      // What could not be sent in time is not sent later in one burst.
      if (index < due) index = Math.floor(due);
      await wait(2);
    }
  }
  const running = run();
  return {
    async stop() {
      stopped = true;
      await running;
      await Promise.all(inFlight);
      return outcomes;
    },
  };
}
