import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bodies } from './bodies.ts';
import { serveParent } from './worker-process.ts';

/** Milliseconds of CPU time per request. */
let work = 0;
const body = Buffer.from(JSON.stringify({ filler: 'x'.repeat(bodies[0].bytes - 13) }));

/** A service that blocks its event loop for each request. */
const server = createServer((_request, response) => {
  const until = performance.now() + work;
  while (performance.now() < until);
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length });
  response.end(body);
});
server.keepAliveTimeout = 0;
server.listen(0, '127.0.0.1');
await once(server, 'listening');
serveParent(async ({ workMs }: { workMs: number }) => {
  work = workMs;
  return { port: (server.address() as AddressInfo).port };
});
