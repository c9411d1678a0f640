import { openHttpServer } from '../../packages/chassis/testing/http-server.ts';

/** Delay and failure rate of an upstream. */
export interface UpstreamBehavior {
  /** Milliseconds before each response. */
  readonly delayMs: number;
  /** Percentage of requests that get status 500. */
  readonly failPercent: number;
}

export interface FaultyUpstream {
  readonly port: number;
  /** Number of requests received so far. */
  received(): number;
  /** Changes the behavior for new requests. Initially there is no delay and no failure. */
  setBehavior(behavior: UpstreamBehavior): void;
  close(): Promise<void>;
}

const body = Buffer.from('{"status":"success","data":{"id":1}}');
const failure = Buffer.from('{"title":"it failed"}');

/** Starts an upstream with a configurable delay and failure rate on a free loopback port. */
export async function startFaultyUpstream(): Promise<FaultyUpstream> {
  let { delayMs, failPercent }: UpstreamBehavior = { delayMs: 0, failPercent: 0 };
  let received = 0;
  const { server, port, stop } = await openHttpServer((_request, response) => {
    received += 1;
    // Random, as real failures are: evenly spread failures would never exceed a circuit threshold of the same percentage.
    const fails = Math.random() * 100 < failPercent;
    const respond = (): void => {
      const content = fails ? failure : body;
      response.writeHead(fails ? 500 : 200, {
        'Content-Type': 'application/json',
        'Content-Length': content.length,
      });
      response.end(content);
    };
    if (delayMs === 0) {
      respond();
      return;
    }
    const timer = setTimeout(respond, delayMs);
    response.once('close', () => clearTimeout(timer));
  });
  // Closing an idle connection could race with the next request.
  server.keepAliveTimeout = 0;
  return {
    port,
    received: () => received,
    setBehavior(behavior) {
      ({ delayMs, failPercent } = behavior);
    },
    close: stop,
  };
}
