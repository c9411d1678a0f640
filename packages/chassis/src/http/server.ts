import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import { StartupError } from '../startup-error.ts';
import { answerMalformedRequests, type MalformedRequestsOptions } from './malformed-requests.ts';

export interface ListenOptions {
  /** What the port is for, in logs and errors: `API`, `management`. */
  readonly name: string;
  /** Address to listen on; when undefined all of the machine: IPv6 where there is any, which takes IPv4 as well, else IPv4. */
  readonly host: string | undefined;
  /** TCP port; 0 takes a free one. */
  readonly port: number;
  readonly lifecycle: Lifecycle;
  readonly logger: Logger;
  /** Counts requests that cannot be parsed; without it, Node answers them and nothing is counted or logged. */
  readonly metrics?: MalformedRequestsOptions['metrics'];
  /**
   * The application itself responds to heads that Node would respond to: `Expect: 100-continue`, by `response.writeContinue()`, any
   * other expectation, and a missing `Host`. By default Node continues the first and rejects the others.
   */
  readonly readsHeads?: boolean;
}

/**
 * Above the idle timeout of every common load balancer (AWS 60 s, nginx 60–75 s, Traefik 90 s, and 120 s where somebody made
 * it longer), so that it is never this side that closes a connection on which the next request is already under way. The pools
 * of our own services read it from the answers (`Keep-Alive: timeout=`) and leave two seconds earlier.
 */
const keepAliveMs = 130_000;

/** Time to send the head of a request, then the whole of it: bounds what slow senders can hold. */
const headersMs = 10_000;
const requestMs = 60_000;
/** How often the two are looked after; Node's own 30 s would be most of the time they allow. */
const checkMs = 2000;

/**
 * Serves HTTP until shutdown. While the service drains, answers carry `Connection: close`, so that clients leave by
 * themselves; the close then waits for requests in hand and drops idle connections.
 * @throws StartupError when the port is in use, not permitted, or the address is not of this machine
 */
export async function listen(
  application: RequestListener,
  { name, host, port, lifecycle, logger, metrics, readsHeads = false }: ListenOptions,
): Promise<{ port: number; server: Server }> {
  const serve: RequestListener = (request, response) => {
    // Node then writes `Connection: close`.
    if (lifecycle.draining) response.shouldKeepAlive = false;
    application(request, response);
  };
  const server = createServer(
    {
      keepAliveTimeout: keepAliveMs,
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      connectionsCheckingInterval: checkMs,
      requireHostHeader: !readsHeads,
    },
    serve,
  );
  if (readsHeads) server.on('checkContinue', serve).on('checkExpectation', serve);
  if (metrics !== undefined) answerMalformedRequests(server, { logger, metrics });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, name, host, port)));
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  lifecycle.onShutdown(`${name} server`, () => closeServer(server, lifecycle.requestGraceMs));
  logger.info({ port: address.port }, `${name} listening`);
  return { port: address.port, server };
}

/**
 * Node drops only connections that are idle when `close` is called: those that turn idle later need asking again, and
 * a client that never ends its request, or never reads its answer, is cut off when the grace has passed.
 */
function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const sweep = setInterval(() => server.closeIdleConnections(), 20);
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close((error) => {
      clearInterval(sweep);
      clearTimeout(cut);
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}

function explain(error: NodeJS.ErrnoException, name: string, host: string | undefined, port: number): Error {
  const where = `${host === undefined ? 'port ' : `${host}:`}${port} (${name})`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new StartupError(`${where} is in use; stop what listens there or choose another port`);
    case 'EACCES':
      return new StartupError(`${where} is not permitted to this user; choose a port above 1023`);
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'EAI_AGAIN':
    case 'EINVAL':
    case 'ENOTFOUND':
      return new StartupError(`${where} is not an address of this machine; set HOST`, 78);
    default:
      return error;
  }
}
