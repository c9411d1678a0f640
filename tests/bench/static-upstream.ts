import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bodies } from './bodies.ts';

export interface StaticUpstream {
  readonly port: number;
  /** Requests for one of the bodies so far. */
  received(): number;
  close(): Promise<void>;
}

/** The query that asks for an answer which may be kept. */
export const mayBeKept = 'kept';

/**
 * Serves the bodies from memory on a free port of the loopback. It is Node's own server, so that every machine measures
 * with the same one and it can count; a request costs it less than any proxy in Node.
 */
export async function startStaticUpstream(): Promise<StaticUpstream> {
  const answers = new Map(bodies.map(({ path, bytes }) => [path as string, jsonText(bytes)]));
  let received = 0;
  const server = createServer((request, response) => {
    const [path = '', query] = (request.url ?? '').split('?');
    const body = answers.get(path);
    if (body === undefined) {
      response.writeHead(404).end();
      return;
    }
    received += 1;
    response.writeHead(200, {
      'Content-Type': 'application/json',
      'Content-Length': body.length,
      // A proxy that kept or packed the answer would be measured doing something else than the others.
      'Cache-Control': query === mayBeKept ? 'max-age=300' : 'no-store, no-transform',
    });
    response.end(body);
  });
  // A proxy's idle connection must not be closed under the next round's first request.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    received: () => received,
    async close() {
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}

/** A JSON string that is so many bytes long. */
function jsonText(bytes: number): Buffer {
  return Buffer.from(`"${'z'.repeat(bytes - 2)}"`);
}
