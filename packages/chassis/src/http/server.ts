import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import { StartupError } from '../startup-error.ts';
import { type MalformedRequestsOptions, rejectMalformedRequests } from './malformed-requests.ts';

export interface ListenOptions {
  /** Name of the server in logs and errors: `API`, `management`. */
  readonly name: string;
  /** Address to listen on; undefined for all addresses, IPv6 (which accepts IPv4 too) if available, else IPv4. */
  readonly host: string | undefined;
  /** TCP port; 0 selects a free port. */
  readonly port: number;
  readonly lifecycle: Lifecycle;
  readonly logger: Logger;
  /** Counts malformed requests; if omitted, Node.js responds to them and they are neither counted nor logged. */
  readonly metrics?: MalformedRequestsOptions['metrics'];
  /**
   * Whether the application handles `Expect: 100-continue` (with `response.writeContinue()`), other expectations and a missing `Host`.
   * False by default: Node.js then continues the first and rejects the others.
   */
  readonly handlesExpectations?: boolean;
}

/**
 * Longer than the idle timeout of common load balancers (AWS 60 s, nginx 60–75 s, Traefik 90 s), including those raised to 120 s. So the
 * server never closes a connection while the next request is in flight. Our own clients read the value from `Keep-Alive: timeout=` and
 * close connections two seconds earlier.
 */
const keepAliveMs = 130_000;

/** Milliseconds to receive the head of a request, and the whole request. They limit slow senders. */
const headersMs = 10_000;
const requestMs = 60_000;
/** Milliseconds between checks of these timeouts. The 30 s of Node.js are too coarse for them. */
const checkMs = 2000;

/**
 * Length of the accept queue; Linux limits it to `net.core.somaxconn`, 4096 by default. A burst of clients fills the 511 of Node.js, and
 * further clients then wait a second until TCP retransmits the SYN.
 */
const backlog = 4096;

/**
 * Starts an HTTP server that runs until shutdown. While the service drains, responses carry `Connection: close`, so that clients
 * reconnect elsewhere. Shutdown then waits for requests in flight and closes idle connections.
 * @throws StartupError if the port is in use or not permitted, or the address does not belong to this machine
 */
export async function listen(
  application: RequestListener,
  { name, host, port, lifecycle, logger, metrics, handlesExpectations: readsHeads = false }: ListenOptions,
): Promise<{ port: number; server: Server }> {
  const serve: RequestListener = (request, response) => {
    // Node.js then sends `Connection: close`.
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
  if (metrics !== undefined) rejectMalformedRequests(server, { logger, metrics });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, name, host, port)));
    server.listen({ port, host, backlog }, resolve);
  });
  const address = server.address() as AddressInfo;
  lifecycle.onShutdown(`${name} server`, () => closeServer(server, lifecycle.requestGraceMs));
  logger.info({ port: address.port }, `${name} listening`);
  return { port: address.port, server };
}

/**
 * Closes the server. Node.js closes only connections that are idle when `close` is called, so idle connections are closed repeatedly.
 * After `graceMs` all connections are destroyed, for clients that never finish their request or never read the response.
 */
function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const idleTimer = setInterval(() => server.closeIdleConnections(), 20);
    const destroyTimer = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close((error) => {
      clearInterval(idleTimer);
      clearTimeout(destroyTimer);
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}

function listenError(
  error: NodeJS.ErrnoException,
  name: string,
  host: string | undefined,
  port: number,
): Error {
  const where = `${host === undefined ? 'port ' : `${host}:`}${port} (${name})`;
  switch (error.code) {
    case 'EADDRINUSE':
      return new StartupError(`${where} is in use. Stop the other process or choose another port.`);
    case 'EACCES':
      return new StartupError(`${where} requires privileges. Choose a port above 1023.`);
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'EAI_AGAIN':
    case 'EINVAL':
    case 'ENOTFOUND':
      return new StartupError(`${where} is not an address of this machine. Set HOST to one.`, 78);
    default:
      return error;
  }
}
