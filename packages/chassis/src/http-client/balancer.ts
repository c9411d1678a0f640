import { Dispatcher, errors } from 'undici';
import type { Logger } from '../logging/logger.ts';
import { runInContext } from '../request-context.ts';
import {
  type AddressBook,
  type AddressBookOptions,
  type AddressChange,
  createAddressBook,
} from './address-book.ts';
import {
  type ConnectionCounts,
  type ConnectionOptions,
  type Connections,
  type EjectionTimes,
  Endpoint,
  tlsNameOf,
} from './endpoint.ts';
import { rawValuesOf } from './raw-headers.ts';

/** Options as undici's `Pool` has them, but `connections` are those to each address, not to all of them. */
export interface BalancerOptions extends ConnectionOptions {
  /** Scheme, host and port of the service. */
  readonly origin: string;
  /** Knows the addresses of the origin's host; by default one is made, and closed with the balancer. */
  readonly addressBook?: AddressBook;
  /** For the address book that is made. */
  readonly lookups?: Pick<AddressBookOptions, 'everyMs' | 'timeoutMs' | 'lookup'>;
  readonly ejection?: EjectionTimes;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
}

/** What a request may tell the balancer. */
export interface BalancedOptions {
  /**
   * Addresses the request has been to: others are preferred. The balancer adds the one it takes, so a set that is
   * handed on from one attempt to the next leads every attempt to another address.
   */
  tried?: Set<string>;
}

export interface BalancerStats extends Readonly<ConnectionCounts> {
  readonly addresses: readonly AddressStats[];
}

export interface AddressStats {
  readonly address: string;
  /** Requests from their dispatch to the end of their answer. */
  readonly inFlight: number;
  /** When it is tried again, in milliseconds since the epoch; undefined while it is in use. */
  readonly ejectedUntil: number | undefined;
}

/** A dispatcher that spreads the requests to one origin over all of its addresses. */
export interface Balancer extends Dispatcher {
  /** The addresses in use, and the connections to all of them together. */
  readonly stats: BalancerStats;
  /** How many addresses there are; 0 before the first look-up has answered. */
  readonly addressCount: number;
  dispatch(
    options: Dispatcher.DispatchOptions & BalancedOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean;
  request<Opaque = null>(
    options: Dispatcher.RequestOptions<Opaque> & BalancedOptions,
  ): Promise<Dispatcher.ResponseData<Opaque>>;
  request<Opaque = null>(
    options: Dispatcher.RequestOptions<Opaque> & BalancedOptions,
    callback: (error: Error | null, data: Dispatcher.ResponseData<Opaque>) => void,
  ): void;
}

/**
 * Every request goes to the address with the fewest in flight, equals in turn. An address that leaves the look-up's
 * answer gets no more of them; its connections end with the requests they have.
 *
 * A connection that fails before the head of an answer takes its address out of use for a while, and then one request
 * tries it again before others follow. A request that fails so before it was sent goes on to another address; one
 * that was sent may have had its effect, and repeating it is the caller's decision. An address is never out of use
 * when there is no other.
 */
export function createBalancer(options: BalancerOptions): Balancer {
  return new LeastInFlightBalancer(options);
}

type Options = Dispatcher.DispatchOptions &
  BalancedOptions &
  Pick<Dispatcher.RequestOptions, 'signal'> & { readonly servername?: string };

/** A request that came before the first addresses. */
interface Waiting {
  readonly flight: Flight;
  readonly stopListening: () => void;
}

class LeastInFlightBalancer extends Dispatcher implements Balancer {
  readonly #origin: URL;
  readonly #connectionOptions: ConnectionOptions;
  /** Server name of all connections; undefined without TLS. */
  readonly #tlsName: string | undefined;
  readonly #ejection: Required<EjectionTimes>;
  readonly #logger: BalancerOptions['logger'];
  readonly #book: AddressBook;
  readonly #ownsBook: boolean;
  readonly #ignoreChanges: () => void;
  #endpoints: readonly Endpoint[] = [];
  /** Gone from the look-up's answer, with requests still in flight. */
  readonly #leaving = new Set<Endpoint>();
  /** Errors of connections, as against those of callers and answers. */
  readonly #connectionErrors = new WeakSet<Error>();
  #waiting: readonly Waiting[] = [];
  #turn = 0;
  #state: 'open' | 'closed' | 'destroyed' = 'open';
  #closed: Promise<void> | undefined;
  #destroyed: Promise<void> | undefined;
  /** Ends the wait of `close` for requests in flight. */
  #stopWaiting: (() => void) | undefined;

  constructor({ origin, addressBook, lookups, ejection, logger, ...connectionOptions }: BalancerOptions) {
    super();
    this.#origin = new URL(origin);
    this.#connectionOptions = connectionOptions;
    this.#tlsName = tlsNameOf(origin);
    this.#ejection = { firstMs: 1000, longestMs: 30_000, ...ejection };
    this.#logger = logger;
    this.#book = addressBook ?? createAddressBook({ ...lookups, host: this.#origin.hostname, logger });
    this.#ownsBook = addressBook === undefined;
    this.#ignoreChanges = this.#book.onChange((change) => this.#change(change));
    this.#change({ added: this.#book.addresses, removed: [] });
  }

  get addressCount(): number {
    return this.#endpoints.length;
  }

  get stats(): BalancerStats {
    const counts: ConnectionCounts = { connected: 0, running: 0, queued: this.#waiting.length };
    for (const endpoint of [...this.#endpoints, ...this.#leaving]) endpoint.addCounts(counts);
    const epoch = Date.now() - performance.now();
    return {
      ...counts,
      addresses: this.#endpoints.map(({ address, inFlight, failures, ejectedUntil }) => ({
        address,
        inFlight,
        ejectedUntil: failures === 0 ? undefined : epoch + ejectedUntil,
      })),
    };
  }

  override dispatch(options: Options, handler: Dispatcher.DispatchHandler): boolean {
    const flight = new Flight(this, this.#withTlsName(options), handler);
    if (this.#state === 'destroyed') return flight.refuse(new errors.ClientDestroyedError());
    if (this.#state === 'closed') return flight.refuse(new errors.ClientClosedError());
    return this.#send(flight);
  }

  /** undici takes the server name from a `Host` header otherwise, and closes the connection when the next request has another. */
  #withTlsName(options: Options): Options {
    return this.#tlsName === undefined ? options : { ...options, servername: this.#tlsName };
  }

  #send(flight: Flight): boolean {
    const endpoint = this.#choose(flight.tried) ?? this.#makeDo(flight.tried);
    return endpoint === undefined ? this.#wait(flight) : this.#sendTo(endpoint, flight);
  }

  #sendTo(endpoint: Endpoint, flight: Flight): boolean {
    this.#turn += 1;
    endpoint.lastTurn = this.#turn;
    if (endpoint.failures > 0) endpoint.trial ??= flight;
    flight.tried?.add(endpoint.address);
    return flight.leaveFor(endpoint.connections);
  }

  /** An address the request has not been to: one that is due to be tried again, else the best of those in use. */
  #choose(tried: ReadonlySet<string> | undefined): Endpoint | undefined {
    let best: Endpoint | undefined;
    for (const endpoint of this.#endpoints) {
      if (tried?.has(endpoint.address)) continue;
      if (endpoint.failures > 0) {
        if (endpoint.trial === undefined && performance.now() >= endpoint.ejectedUntil) return endpoint;
      } else if (best === undefined || isBefore(endpoint, best)) {
        best = endpoint;
      }
    }
    return best;
  }

  /** Any address is better than none: one in use although tried, else the one whose ejection ends first. */
  #makeDo(tried: ReadonlySet<string> | undefined): Endpoint | undefined {
    let repeated: Endpoint | undefined;
    let ejected: Endpoint | undefined;
    for (const endpoint of this.#endpoints) {
      if (endpoint.failures === 0) {
        if (repeated === undefined || isBefore(endpoint, repeated)) repeated = endpoint;
      } else if (ejected === undefined || returnsBefore(endpoint, ejected, tried)) {
        ejected = endpoint;
      }
    }
    return repeated ?? ejected;
  }

  /** No address is known yet. A signal ends the wait; undici's own handlers look at theirs only once they are sent. */
  #wait(flight: Flight): boolean {
    const { signal } = flight.options;
    if (signal instanceof AbortSignal && signal.aborted) return flight.refuse(signal.reason);
    const stopListening = onAbort(signal, (reason) => {
      this.#waiting = this.#waiting.filter((waiting) => waiting.flight !== flight);
      flight.refuse(reason);
    });
    this.#waiting = [...this.#waiting, { flight, stopListening }];
    this.#book.ready().catch((error: Error) => {
      for (const waiting of this.#takeWaiting()) waiting.refuse(error);
      this.#drained();
    });
    return false;
  }

  #takeWaiting(): readonly Flight[] {
    const taken = this.#waiting;
    this.#waiting = [];
    for (const { stopListening } of taken) stopListening();
    return taken.map(({ flight }) => flight);
  }

  #change({ added, removed }: AddressChange): void {
    const gone = this.#endpoints.filter(({ address }) => removed.includes(address));
    this.#endpoints = [
      ...this.#endpoints.filter((endpoint) => !gone.includes(endpoint)),
      ...added.map((address) => this.#createEndpoint(address)),
    ];
    for (const endpoint of gone) this.#leave(endpoint);
    for (const flight of this.#takeWaiting()) this.#send(flight);
    this.#drained();
  }

  #createEndpoint(address: string): Endpoint {
    return new Endpoint({
      origin: this.#origin.origin,
      address,
      connections: this.#connectionOptions,
      ejection: this.#ejection,
      connectionErrors: this.#connectionErrors,
      onDrain: () => this.#drained(),
    });
  }

  #leave(endpoint: Endpoint): void {
    endpoint.leaving = true;
    this.#leaving.add(endpoint);
    void endpoint.close().finally(() => this.#leaving.delete(endpoint));
  }

  #drained(): void {
    this.emit('drain', this.#origin);
  }

  /**
   * Hears of every request that fails.
   * @returns whether its handler is to hear of it too
   */
  failed(flight: Flight, connections: Connections, error: Error): boolean {
    if (flight.answered || this.#state !== 'open' || !this.#connectionErrors.has(error)) return true;
    const { endpoint } = connections;
    // What was under way when connections were given up says nothing new.
    if (connections === endpoint.connections && !endpoint.leaving) this.#eject(endpoint, error);
    return flight.sent || !this.#sendOn(flight, endpoint);
  }

  #eject(endpoint: Endpoint, error: Error): void {
    if (endpoint.failures === 0) this.#log('warn', endpoint, 'address fails', error);
    endpoint.eject(
      error,
      this.#endpoints.some((other) => other !== endpoint && other.failures === 0),
    );
    this.#drained();
  }

  /** Nothing of the request was sent: another address may have it, whatever its method. */
  #sendOn(flight: Flight, failed: Endpoint): boolean {
    flight.refused ??= new Set();
    flight.refused.add(failed.address);
    const endpoint = this.#choose(flight.tried ?? flight.refused) ?? this.#makeDo(flight.refused);
    if (endpoint === undefined || flight.refused.has(endpoint.address)) return false;
    this.#sendTo(endpoint, flight);
    return true;
  }

  /** Hears of the head of an answer from an address that is out of use. */
  answered(connections: Connections): void {
    const { endpoint } = connections;
    if (connections !== endpoint.connections || endpoint.leaving) return;
    this.#log('info', endpoint, 'address answers again');
    endpoint.recover();
  }

  #log(level: 'info' | 'warn', { address }: Endpoint, message: string, err?: Error): void {
    // The line is about the address, not about the request that happened to be in hand.
    runInContext(undefined, () =>
      this.#logger[level]({ origin: this.#origin.origin, address, ...(err && { err }) }, message),
    );
  }

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: () => void): Promise<void> {
    if (this.#state === 'open') this.#state = 'closed';
    this.#closed ??= this.#close();
    return callback === undefined ? this.#closed : this.#closed.then(callback);
  }

  async #close(): Promise<void> {
    if (this.#waiting.length > 0) await this.#book.ready().catch(() => undefined);
    this.#endLookups();
    await new Promise<void>((resolve, reject) => {
      // undici's pools never end a close that a destroy has overtaken.
      this.#stopWaiting = resolve;
      Promise.all([...this.#endpoints, ...this.#leaving].map((endpoint) => endpoint.close())).then(
        () => resolve(),
        reject,
      );
    });
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> {
    const error = typeof first === 'function' ? undefined : first;
    const callback = typeof first === 'function' ? first : second;
    this.#state = 'destroyed';
    this.#destroyed ??= this.#destroy(error ?? new errors.ClientDestroyedError());
    return callback === undefined ? this.#destroyed : this.#destroyed.then(callback);
  }

  async #destroy(error: Error): Promise<void> {
    this.#endLookups();
    for (const flight of this.#takeWaiting()) flight.refuse(error);
    await Promise.all([...this.#endpoints, ...this.#leaving].map((endpoint) => endpoint.destroy(error)));
    this.#stopWaiting?.();
  }

  #endLookups(): void {
    this.#ignoreChanges();
    if (this.#ownsBook) this.#book.close();
  }
}

function isBefore(one: Endpoint, other: Endpoint): boolean {
  return one.inFlight === other.inFlight ? one.lastTurn < other.lastTurn : one.inFlight < other.inFlight;
}

function returnsBefore(one: Endpoint, other: Endpoint, tried: ReadonlySet<string> | undefined): boolean {
  const repeats = tried?.has(one.address) ?? false;
  if (repeats !== (tried?.has(other.address) ?? false)) return !repeats;
  return one.ejectedUntil < other.ejectedUntil;
}

/**
 * A service may use no other transfer coding than `chunked`, since no request asks for one (RFC 9112, section 6.1): neither the content
 * nor its end could be told.
 */
function isUnknownCoding(value: string): boolean {
  return value.trim().toLowerCase() !== 'chunked';
}

function onAbort(signal: unknown, act: (reason: Error) => void): () => void {
  if (!(signal instanceof AbortSignal)) return () => undefined;
  const listener = () => act(signal.reason);
  signal.addEventListener('abort', listener);
  return () => signal.removeEventListener('abort', listener);
}

/**
 * One request on its way, as the handler that undici sees. Handlers are of the kind that undici 7 works with inside, as its own
 * `request` and `stream` do: one of the newer kind is translated into it, and has all headers of an answer read once more.
 */
class Flight implements Dispatcher.DispatchHandler {
  readonly options: Options;
  /** As `BalancedOptions.tried`. */
  readonly tried: Set<string> | undefined;
  /** Addresses that it could not connect to. */
  refused: Set<string> | undefined;
  /** Bytes of it may have reached the service. */
  sent = false;
  /** The head of an answer has come. */
  answered = false;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #balancer: LeastInFlightBalancer;
  /** Those it is on; undefined before and after. */
  #connections: Connections | undefined;
  /** Ends it with an error, and its connection. */
  #abort: ((error: Error) => void) | undefined;

  constructor(balancer: LeastInFlightBalancer, options: Options, handler: Dispatcher.DispatchHandler) {
    if (handler.onError === undefined || handler.onRequestStart !== undefined) {
      throw new errors.InvalidArgumentError('the handler is not of the kind that has onConnect and onError');
    }
    this.#balancer = balancer;
    this.options = options;
    this.tried = options.tried;
    this.#handler = handler;
  }

  /** Fails it before it is on its way; false, as `dispatch` answers then. */
  refuse(error: Error): false {
    this.#handler.onError?.(error);
    return false;
  }

  leaveFor(connections: Connections): boolean {
    this.#connections = connections;
    connections.endpoint.inFlight += 1;
    return connections.dispatch(this.options, this);
  }

  onConnect(abort: (error?: Error) => void): void {
    this.sent = true;
    this.#abort = abort;
    this.#handler.onConnect?.(abort);
  }

  onUpgrade(...upgrade: Parameters<Required<Dispatcher.DispatchHandler>['onUpgrade']>): void {
    this.#hasHead();
    upgrade[2].once('close', () => this.#land());
    this.#handler.onUpgrade?.(...upgrade);
  }

  onResponseStarted(): void {
    this.#handler.onResponseStarted?.();
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void, message: string): boolean {
    this.#hasHead();
    if (rawValuesOf(headers, 'transfer-encoding').some(isUnknownCoding)) {
      this.#abort?.(new Error('the response is in a transfer coding other than chunked'));
      return true;
    }
    return this.#handler.onHeaders?.(status, headers, resume, message) ?? true;
  }

  onData(chunk: Buffer): boolean {
    return this.#handler.onData?.(chunk) ?? true;
  }

  onComplete(trailers: string[] | null): void {
    this.#land();
    this.#handler.onComplete?.(trailers);
  }

  onError(error: Error): void {
    const connections = this.#land();
    if (connections === undefined || this.#balancer.failed(this, connections, error))
      this.#handler.onError?.(error);
  }

  #hasHead(): void {
    this.answered = true;
    const connections = this.#connections;
    if (connections !== undefined && connections.endpoint.failures > 0) this.#balancer.answered(connections);
  }

  /** The request is over. Returns the connections it was on, once. */
  #land(): Connections | undefined {
    const connections = this.#connections;
    if (connections === undefined) return undefined;
    this.#connections = undefined;
    connections.endpoint.inFlight -= 1;
    if (connections.endpoint.trial === this) connections.endpoint.trial = undefined;
    return connections;
  }
}
