import { openHttpServer } from '../../packages/chassis/testing/http-server.ts';
import { bodies } from './bodies.ts';

export interface StaticUpstream {
  readonly port: number;
  /** Number of requests for one of the bodies so far. */
  received(): number;
  close(): Promise<void>;
}

/** Query string that requests a cacheable response. */
export const cacheableQuery = 'cacheable';

/**
 * Serves the bodies from memory on a free loopback port. It is a Node.js server, so that it counts requests and every machine
 * measures with the same upstream. A request costs it less CPU than any Node.js proxy.
 */
export async function startStaticUpstream(): Promise<StaticUpstream> {
  const responses = new Map(bodies.map(({ path, bytes }) => [path as string, jsonText(bytes)]));
  let received = 0;
  const { server, port, stop } = await openHttpServer((request, response) => {
    const [path = '', query] = (request.url ?? '').split('?');
    const body = responses.get(path);
    if (body === undefined) {
      response.writeHead(404).end();
      return;
    }
    received += 1;
    response.writeHead(200, {
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      // Caching or compression would make a proxy's results incomparable with the others'.
      'Cache-Control': query === cacheableQuery ? 'max-age=300' : 'no-store, no-transform',
    });
    response.end(body);
  });
  // Closing an idle connection could race with the first request of the next round.
  server.keepAliveTimeout = 0;
  return {
    port,
    received: () => received,
    close: stop,
  };
}

/** Returns a JSON string of the given length in bytes, quotes included. */
function jsonText(bytes: number): Buffer {
  return Buffer.from(`"${'z'.repeat(bytes - 2)}"`);
}
