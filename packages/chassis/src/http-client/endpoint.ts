import { isIP } from 'node:net';
import { buildConnector, Client, type Dispatcher, Pool } from 'undici';
import { skipContinues } from './skip-continues.ts';

/** How long an address stays out of use when connections to it fail. */
export interface EjectionTimes {
  /** Milliseconds after the first failure; each further one in a row doubles them. 1000 by default. */
  readonly firstMs?: number;
  /** Milliseconds at most; 30,000 by default. */
  readonly longestMs?: number;
}

/** What undici's `Pool` is made with. */
export type ConnectionOptions = Pick<
  Pool.Options,
  'connections' | 'pipelining' | 'headersTimeout' | 'bodyTimeout'
> & {
  /** Options of the connection itself: `timeout` in milliseconds (10,000 by default), those of TLS. */
  readonly connect?: buildConnector.BuildOptions;
};

export interface EndpointOptions {
  readonly origin: string;
  readonly address: string;
  readonly connections: ConnectionOptions;
  readonly ejection: Required<EjectionTimes>;
  /** Where errors are put that are those of a connection, before any request hears of them. */
  readonly connectionErrors: WeakSet<Error>;
  /** Some connection is free again. */
  readonly onDrain: () => void;
}

export interface ConnectionCounts {
  /** Open connections. */
  connected: number;
  /** Requests on a connection. */
  running: number;
  /** Requests that wait for a connection. */
  queued: number;
}

/** One address of an origin: its connections, the requests on their way to it, and whether it is to be used. */
export class Endpoint {
  readonly address: string;
  /** Requests from their dispatch to the end of their answer. */
  inFlight = 0;
  /** Number of the request that took it last; who has waited longest comes first among equals. */
  lastTurn = 0;
  /** Failed connections in a row; above 0 the address is out of use. */
  failures = 0;
  /** When it may be tried again, on the clock of `performance.now()`. */
  ejectedUntil = 0;
  /** The one request that finds out whether it lives again. */
  trial: object | undefined;
  /** Those that new requests use. */
  connections: Connections;
  /** It has left the answers of the name server. */
  leaving = false;
  readonly #options: EndpointOptions;
  readonly #connect: buildConnector.connector;
  /** Connections that end with the requests they still have. */
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
   * Takes the address out of use and gives its connections up: idle ones are as dead as the one that failed, or will
   * be. Requests in flight go on. When `others` can stand in, requests that were not sent yet fail with `error`, to go
   * there; and the time doubles. As long as nobody can, the failures say how bad an outage is, not how bad the
   * address: all of them would be out for long when the first one comes back, and it would have to bear everything.
   */
  eject(error: Error, others: boolean): void {
    const { firstMs, longestMs } = this.#options.ejection;
    if (others || this.failures === 0) this.failures += 1;
    this.ejectedUntil = performance.now() + Math.min(firstMs * 2 ** (this.failures - 1), longestMs);
    this.trial = undefined;
    const given = this.connections;
    this.connections = this.#open();
    this.#retired.add(given);
    // Later, since undici is in the middle of telling the error.
    queueMicrotask(() => {
      const end = others && given.counts.running === 0 ? given.destroy(error) : given.close();
      void end.finally(() => this.#retired.delete(given));
    });
  }

  recover(): void {
    this.failures = 0;
    this.ejectedUntil = 0;
    this.trial = undefined;
  }

  addCounts(total: ConnectionCounts): void {
    for (const connections of [this.connections, ...this.#retired]) {
      const { connected, running, queued } = connections.counts;
      total.connected += connected;
      total.running += running;
      total.queued += queued;
    }
  }

  /** Ends idle connections at once and the others with their requests. */
  async close(): Promise<void> {
    await Promise.all([...this.#retired, this.connections].map((connections) => connections.close()));
  }

  async destroy(error: Error): Promise<void> {
    await Promise.all([...this.#retired, this.connections].map((connections) => connections.destroy(error)));
  }
}

/**
 * A pool of connections to one address. Its origin is that of the service, so `Host` and the server name of TLS stay
 * what they are; only the address connected to is another.
 *
 * Idle connections are kept as undici keeps them: 2 s less than the server promises in `Keep-Alive` (128 s for our
 * services), and 4 s when it promises nothing (Node's servers then close after 5 s). So it is this side that closes
 * first, and a request seldom meets a connection that is just being closed. A server that shuts down does close
 * earlier; a request that meets that fails, and counts against an address that is about to go in any case.
 */
export class Connections {
  readonly endpoint: Endpoint;
  readonly #pool: Pool;
  /**
   * Clients whose connection failed. undici's pool forgets them, yet gives them what it has queued: their requests
   * would be neither counted nor ended with the pool.
   */
  readonly #strays = new Set<Client>();

  constructor(endpoint: Endpoint, connect: buildConnector.connector, options: EndpointOptions) {
    this.endpoint = endpoint;
    this.#pool = new Pool(options.origin, {
      ...options.connections,
      connect,
      factory: (url, clientOptions) => {
        const client = new Client(url, clientOptions);
        client.on('connectionError', () => this.#strays.add(client));
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
    for (const { stats } of this.#strays) {
      counts.connected += Number(stats.connected);
      counts.running += stats.running;
      counts.queued += stats.pending;
    }
    return counts;
  }

  async close(): Promise<void> {
    if (!this.#pool.destroyed) await this.#pool.close();
    for (const stray of this.#strays) {
      if (!stray.destroyed) await stray.close();
    }
  }

  async destroy(error: Error): Promise<void> {
    await Promise.all([this.#pool, ...this.#strays].map((dispatcher) => dispatcher.destroy(error)));
  }
}

/**
 * Returns the name that TLS connections to an origin ask for and whose certificate they require (RFC 9110, section 4.3.4): a name of
 * the configuration, whatever `Host` a request has. Undefined without TLS.
 */
export function tlsNameOf(origin: string): string | undefined {
  const { protocol, hostname } = new URL(origin);
  return protocol === 'https:' ? hostname.replace(/^\[|\]$/g, '') : undefined;
}

/** Connects to the address, whatever the host of the origin, and notes what goes wrong with the connection. */
function connectorTo({
  origin,
  address,
  connections,
  connectionErrors,
}: EndpointOptions): buildConnector.connector {
  const connector = buildConnector({ ...connections.connect });
  const name = tlsNameOf(origin);
  // An IP address is no server name (RFC 6066, section 3); the certificate is then checked against the address.
  const servername = name === undefined || isIP(name) !== 0 ? undefined : name;
  return (target, callback) => {
    const { servername: _ofRequest, ...place } = target;
    const named = { ...place, hostname: address, ...(servername !== undefined && { servername }) };
    connector(named, (...[error, socket]) => {
      if (error !== null) {
        connectionErrors.add(error);
        callback(error, null);
        return;
      }
      // Before undici listens, so that the error is known when the request hears of it.
      socket.once('error', (broken) => {
        if (isOfConnection(broken)) connectionErrors.add(broken);
      });
      callback(null, socket);
      skipContinues(socket);
    });
  };
}

/**
 * A connection also ends by errors that say nothing about it: the caller's abort, a head that is too long, or a response that cannot
 * be understood. undici gives the last the code of a broken connection.
 */
function isOfConnection(error: NodeJS.ErrnoException): boolean {
  if (error.syscall !== undefined) return true;
  return error.code === 'UND_ERR_SOCKET' && !malformed.has(error.message);
}

const malformed: ReadonlySet<string> = new Set(['bad response', 'bad upgrade']);
