import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How an upstream answers. */
export interface Trouble {
  /** Milliseconds before it answers. */
  readonly delayMs: number;
  /** Share of the requests that it answers with 500, in percent. */
  readonly failPercent: number;
}

export interface FaultyUpstream {
  readonly port: number;
  /** Requests so far. */
  received(): number;
  /** How requests are answered from now on; at first at once, and all of them with 200. */
  behave(trouble: Trouble): void;
  close(): Promise<void>;
}

const body = Buffer.from('{"status":"success","data":{"id":1}}');
const failure = Buffer.from('{"title":"it failed"}');

/** An upstream on a free port of the loopback that is slow and fails as it is told to. */
export async function startFaultyUpstream(): Promise<FaultyUpstream> {
  let { delayMs, failPercent }: Trouble = { delayMs: 0, failPercent: 0 };
  let received = 0;
  const server = createServer((_request, response) => {
    received += 1;
    // By chance, as real failures come: evenly spread ones would never be above the limit of a circuit set to them.
    const fails = Math.random() * 100 < failPercent;
    const answer = (): void => {
      const content = fails ? failure : body;
      response.writeHead(fails ? 500 : 200, {
        'Content-Type': 'application/json',
        'Content-Length': content.length,
      });
      response.end(content);
    };
    if (delayMs === 0) {
      answer();
      return;
    }
    const timer = setTimeout(answer, delayMs);
    response.once('close', () => clearTimeout(timer));
  });
  // An idle connection must not be closed under the next request.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    received: () => received,
    behave(trouble) {
      ({ delayMs, failPercent } = trouble);
    },
    async close() {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}
