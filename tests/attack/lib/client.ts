import { Agent } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { type HttpRequest, type HttpResponse, sendRequest } from '../../../packages/chassis/testing/http.ts';

export interface RequestOptions extends HttpRequest {
  /** Loopback address of the client. Different addresses count as different clients. Default: 127.0.0.1 */
  readonly from?: string;
}

/** Sends requests to the gateway, from any loopback address. */
export interface Client {
  send(method: string, path: string, options?: RequestOptions): Promise<HttpResponse>;
  /** Closes the connections. */
  close(): void;
}

export function createClient(baseUrl: string): Client {
  const agents = new Map<string, Agent>();
  const agentOf = (address: string): Agent => {
    const agent = agents.get(address) ?? new Agent({ keepAlive: true, localAddress: address });
    agents.set(address, agent);
    return agent;
  };
  return {
    send: (method, path, { from = '127.0.0.1', ...options } = {}) =>
      sendRequest(`${baseUrl}${path}`, { ...options, method, agent: agentOf(from) }),
    close() {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

/** Maximum number of requests in flight. */
const maxInFlight = 400;

/** A running flood. */
export interface Flood {
  /** Stops the flood. Resolves with the number of responses by status; `error` counts failed requests. */
  stop(): Promise<Readonly<Record<string, number>>>;
}

/** Sends `perSecond` requests per second, independent of the responses. */
export function startFlood(perSecond: number, sendNext: (index: number) => Promise<HttpResponse>): Flood {
  const outcomes: Record<string, number> = {};
  const inFlight = new Set<Promise<void>>();
  let stopped = false;

  function sendRequest(index: number): void {
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
      for (; index < due && inFlight.size < maxInFlight; index += 1) sendRequest(index);
      // Requests over the limit are skipped instead of sent later in a burst.
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
