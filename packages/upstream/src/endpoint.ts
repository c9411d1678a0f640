import { isIP } from 'node:net';
import { buildConnector, Client, type Dispatcher, Pool } from 'undici';
import { skipContinues } from './skip-continues.ts';

/** Duration of the ejection of an address after failed connections. */
export interface EjectionTimes {
  /** Milliseconds after the first failure, doubled for each further consecutive failure; 1,000 by default. */
  readonly baseMs?: number;
  /** Maximum in milliseconds; 30,000 by default. */
  readonly maxMs?: number;
}

/** Options of the `Pool` of undici. */
export type ConnectionOptions = Pick<
  Pool.Options,
  'connections' | 'pipelining' | 'headersTimeout' | 'bodyTimeout'
> & {
  /** Options of connections: `timeout` in milliseconds (10,000 by default) and TLS options. */
  readonly connect?: buildConnector.BuildOptions;
};

export interface EndpointOptions {
  readonly origin: string;
  readonly address: string;
  readonly connections: ConnectionOptions;
  readonly ejection: Required<EjectionTimes>;
  /** Collects the errors of connections before requests fail with them. */
  readonly connectionErrors: WeakSet<Error>;
  /** Called when a connection becomes free. */
  readonly onDrain: () => void;
}

export interface ConnectionCounts {
  /** Open connections. */
  connected: number;
  /** Requests that have a connection. */
  running: number;
  /** Requests that wait for a connection. */
  queued: number;
}

/** One address of an origin, with its connections, requests in flight and ejection state. */
export class Endpoint {
  readonly address: string;
  /** Requests in flight, from dispatch to the end of the response. */
  inFlight = 0;
  /** Sequence number of the last request to this address, for selection of the least recently used one. */
  lastUsed = 0;
  /** Consecutive failed connections. Above 0, the address is ejected. */
  failures = 0;
  /** Time of `performance.now()` at which the ejection ends. */
  ejectedUntil = 0;
  /** The request that probes the ejected address; only one does at a time. */
  probe: object | undefined;
  /** Connections for new requests. */
  connections: Connections;
  /** Whether the address disappeared from the lookup. */
  draining = false;
  readonly #options: EndpointOptions;
  readonly #connect: buildConnector.connector;
  /** Connections that close when their requests end. */
  readonly #retired = new Set<Connections>();

  constructor(options: EndpointOptions) {
    this.address = options.address;
    this.#options = options;
    this.#connect = connectorTo(options);
    this.connections = this.#open();
  }

  #open(): Connections {
    return new Connections(this, this.#connect, this.#options);
  }

  /**
   * Ejects the address and replaces its connections, because idle ones are probably broken too. Requests in flight continue.
   *
   * If `hasAlternatives`, queued requests fail with `error`, so that they move to another address, and the ejection time doubles.
   * Otherwise it does not double: when all addresses fail in an outage, long ejections would leave the first recovered one alone with the
   * whole load.
   */
  eject(error: Error, hasAlternatives: boolean): void {
    const { baseMs, maxMs } = this.#options.ejection;
    if (hasAlternatives || this.failures === 0) this.failures += 1;
    this.ejectedUntil = performance.now() + Math.min(baseMs * 2 ** (this.failures - 1), maxMs);
    this.probe = undefined;
    const retired = this.connections;
    this.connections = this.#open();
    this.#retired.add(retired);
    // Deferred, because undici is still reporting the error.
    queueMicrotask(() => {
      const end = hasAlternatives && retired.counts.running === 0 ? retired.destroy(error) : retired.close();
      void end.finally(() => this.#retired.delete(retired));
    });
  }

  recover(): void {
    this.failures = 0;
    this.ejectedUntil = 0;
    this.probe = undefined;
  }

  addCounts(total: ConnectionCounts): void {
    for (const connections of [this.connections, ...this.#retired]) {
      const { connected, running, queued } = connections.counts;
      total.connected += connected;
      total.running += running;
      total.queued += queued;
    }
  }

  /** Closes idle connections immediately and the others when their requests end. */
  async close(): Promise<void> {
    await Promise.all([...this.#retired, this.connections].map((connections) => connections.close()));
  }

  async destroy(error: Error): Promise<void> {
    await Promise.all([...this.#retired, this.connections].map((connections) => connections.destroy(error)));
  }
}

/**
 * A pool of connections to one address. The origin is that of the service, so `Host` and the TLS server name do not depend on the
 * address.
 *
 * undici closes idle connections 2 s before the timeout in the `Keep-Alive` header of the server (after 128 s for our services), and
 * after 4 s without the header (Node.js servers close after 5 s). So the client closes first, and requests seldom fail on a connection
 * that the server closes. A server that shuts down closes earlier; a request that fails then ejects an address that is about to disappear.
 */
export class Connections {
  readonly endpoint: Endpoint;
  readonly #pool: Pool;
  /**
   * Clients whose connection failed. The pool of undici removes them but still gives them queued requests, which it neither counts nor
   * ends when it closes.
   */
  readonly #detachedClients = new Set<Client>();

  constructor(endpoint: Endpoint, connect: buildConnector.connector, options: EndpointOptions) {
    this.endpoint = endpoint;
    this.#pool = new Pool(options.origin, {
      ...options.connections,
      connect,
      factory: (url, clientOptions) => {
        const client = new Client(url, clientOptions);
        client.on('connectionError', () => this.#detachedClients.add(client));
        return client;
      },
    });
    this.#pool.on('drain', options.onDrain);
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    return this.#pool.dispatch(options, handler);
  }

  get counts(): ConnectionCounts {
    const { connected, running, queued } = this.#pool.stats;
    const counts = { connected, running, queued };
    for (const { stats } of this.#detachedClients) {
      counts.connected += Number(stats.connected);
      counts.running += stats.running;
      counts.queued += stats.pending;
    }
    return counts;
  }

  async close(): Promise<void> {
    if (!this.#pool.destroyed) await this.#pool.close();
    for (const client of this.#detachedClients) {
      if (!client.destroyed) await client.close();
    }
  }

  async destroy(error: Error): Promise<void> {
    await Promise.all([this.#pool, ...this.#detachedClients].map((dispatcher) => dispatcher.destroy(error)));
  }
}

/**
 * Returns the TLS server name of an origin, which the certificate must match (RFC 9110, section 4.3.4). It comes from the configuration
 * and not from the `Host` of a request. Undefined without TLS.
 */
export function tlsNameOf(origin: string): string | undefined {
  const { protocol, hostname } = new URL(origin);
  return protocol === 'https:' ? hostname.replace(/^\[|\]$/g, '') : undefined;
}

/** Creates a connector that connects to the address instead of the host of the origin, and collects connection errors. */
function connectorTo({
  origin,
  address,
  connections,
  connectionErrors,
}: EndpointOptions): buildConnector.connector {
  const connector = buildConnector({ ...connections.connect });
  const name = tlsNameOf(origin);
  // An IP address is not a valid server name (RFC 6066, section 3). The certificate is then verified against the address.
  const servername = name === undefined || isIP(name) !== 0 ? undefined : name;
  return (target, callback) => {
    const { servername: _ofRequest, ...destination } = target;
    const options = { ...destination, hostname: address, ...(servername !== undefined && { servername }) };
    connector(options, (...[error, socket]) => {
      if (error !== null) {
        connectionErrors.add(error);
        callback(error, null);
        return;
      }
      // Registered before the listener of undici, so that the error is collected before the request fails.
      socket.once('error', (socketError) => {
        if (isConnectionError(socketError)) connectionErrors.add(socketError);
      });
      callback(null, socket);
      skipContinues(socket);
    });
  };
}

/**
 * Returns whether an error shows that the connection is broken. An abort by the caller, an oversized response head and a malformed
 * response also end a connection. undici gives malformed responses the code of a broken connection.
 */
function isConnectionError(error: NodeJS.ErrnoException): boolean {
  if (error.syscall !== undefined) return true;
  return error.code === 'UND_ERR_SOCKET' && !malformedResponses.has(error.message);
}

/** Messages of undici for malformed responses. */
const malformedResponses: ReadonlySet<string> = new Set(['bad response', 'bad upgrade']);
