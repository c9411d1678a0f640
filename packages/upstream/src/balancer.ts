import type { Logger } from '@zerda/chassis/logging/logger';
import { runInContext } from '@zerda/chassis/request-context';
import { Dispatcher, errors } from 'undici';
import {
  type AddressChange,
  type AddressResolver,
  type AddressResolverOptions,
  createAddressResolver,
} from './address-resolver.ts';
import {
  type ConnectionCounts,
  type ConnectionOptions,
  type Connections,
  type EjectionTimes,
  Endpoint,
  tlsNameOf,
} from './endpoint.ts';
import { rawValuesOf } from './raw-headers.ts';

/** Options as for the `Pool` of undici, except that `connections` applies per address. */
export interface BalancerOptions extends ConnectionOptions {
  /** Scheme, host and port of the service. */
  readonly origin: string;
  /** Resolves the host of the origin; by default the balancer creates a resolver and closes it. */
  readonly addressResolver?: AddressResolver;
  /** Options of the resolver that the balancer creates. */
  readonly lookups?: Pick<AddressResolverOptions, 'intervalMs' | 'timeoutMs' | 'lookup'>;
  readonly ejection?: EjectionTimes;
  /** Called after a lookup returned an address that was not in the previous result. */
  readonly onAddressAdded?: (() => void) | undefined;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
}

/** Balancer options of a request. */
export interface BalancedOptions {
  /**
   * Addresses that earlier attempts used; others are preferred. The balancer adds the address it selects. If all attempts share one set,
   * each goes to another address.
   */
  tried?: Set<string>;
  /** Called when an address has accepted a connection for the request, or has one already. */
  onConnected?: (() => void) | undefined;
}

export interface BalancerStats extends Readonly<ConnectionCounts> {
  readonly addresses: readonly AddressStats[];
}

export interface AddressStats {
  readonly address: string;
  /** Requests in flight, from dispatch to the end of the response. */
  readonly inFlight: number;
  /** End of the ejection in milliseconds since the epoch; undefined while the address is in use. */
  readonly ejectedUntil: number | undefined;
}

/** A dispatcher that distributes the requests to one origin over its addresses. */
export interface Balancer extends Dispatcher {
  /** Statistics per address, and connection counts over all addresses. */
  readonly stats: BalancerStats;
  /** Number of addresses; 0 before the first successful lookup. */
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
 * Creates a balancer. Each request goes to the address with the fewest requests in flight; among equals, to the least recently used. An
 * address that disappears from the lookup gets no new requests; its connections close when their requests end.
 *
 * If a connection fails before the response head, its address is ejected for a while. Then one request probes it before others follow. If
 * the failed request was not sent yet, the balancer sends it to another address. A request that was sent may have had an effect, so the
 * caller decides about a retry. If no other address is available, ejected addresses are used.
 */
export function createBalancer(options: BalancerOptions): Balancer {
  return new LeastInFlightBalancer(options);
}

type Options = Dispatcher.DispatchOptions &
  BalancedOptions &
  Pick<Dispatcher.RequestOptions, 'signal'> & { readonly servername?: string };

/** A request that waits for the first lookup. */
interface WaitingRequest {
  readonly request: BalancedRequest;
  readonly stopListening: () => void;
}

class LeastInFlightBalancer extends Dispatcher implements Balancer {
  readonly #origin: URL;
  readonly #connectionOptions: ConnectionOptions;
  /** TLS server name of all connections; undefined without TLS. */
  readonly #tlsName: string | undefined;
  readonly #ejection: Required<EjectionTimes>;
  readonly #logger: BalancerOptions['logger'];
  readonly #resolver: AddressResolver;
  readonly #ownsResolver: boolean;
  readonly #onAddressAdded: BalancerOptions['onAddressAdded'];
  readonly #unsubscribe: () => void;
  #endpoints: readonly Endpoint[] = [];
  /** Endpoints that disappeared from the lookup and still have requests in flight. */
  readonly #drainingEndpoints = new Set<Endpoint>();
  /** Errors of connections. Errors of callers and responses do not eject an address. */
  readonly #connectionErrors = new WeakSet<Error>();
  #waiting: readonly WaitingRequest[] = [];
  #dispatchCount = 0;
  #state: 'open' | 'closed' | 'destroyed' = 'open';
  #closed: Promise<void> | undefined;
  #destroyed: Promise<void> | undefined;
  /** Resolves a pending `close` that waits for requests in flight. */
  #stopWaiting: (() => void) | undefined;

  constructor(options: BalancerOptions) {
    super();
    const { origin, addressResolver, lookups, ejection, onAddressAdded, logger, ...connectionOptions } =
      options;
    this.#origin = new URL(origin);
    this.#connectionOptions = connectionOptions;
    this.#tlsName = tlsNameOf(origin);
    this.#ejection = { baseMs: 1000, maxMs: 30_000, ...ejection };
    this.#onAddressAdded = onAddressAdded;
    this.#logger = logger;
    this.#resolver =
      addressResolver ?? createAddressResolver({ ...lookups, host: this.#origin.hostname, logger });
    this.#ownsResolver = addressResolver === undefined;
    this.#unsubscribe = this.#resolver.onChange((change) => {
      this.#updateAddresses(change);
      if (change.added.length > 0) this.#onAddressAdded?.();
    });
    this.#updateAddresses({ added: this.#resolver.addresses, removed: [] });
  }

  get addressCount(): number {
    return this.#endpoints.length;
  }

  get stats(): BalancerStats {
    const counts: ConnectionCounts = { connected: 0, running: 0, queued: this.#waiting.length };
    for (const endpoint of [...this.#endpoints, ...this.#drainingEndpoints]) endpoint.addCounts(counts);
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
    const request = new BalancedRequest(this, this.#withTlsName(options), handler);
    if (this.#state === 'destroyed') return request.fail(new errors.ClientDestroyedError());
    if (this.#state === 'closed') return request.fail(new errors.ClientClosedError());
    return this.#send(request);
  }

  /** By default undici uses the `Host` header as the server name, and reconnects when it changes between requests. */
  #withTlsName(options: Options): Options {
    return this.#tlsName === undefined ? options : { ...options, servername: this.#tlsName };
  }

  #send(request: BalancedRequest): boolean {
    const endpoint = this.#chooseUntried(request.tried) ?? this.#chooseFallback(request.tried);
    return endpoint === undefined ? this.#wait(request) : this.#sendTo(endpoint, request);
  }

  #sendTo(endpoint: Endpoint, request: BalancedRequest): boolean {
    this.#dispatchCount += 1;
    endpoint.lastUsed = this.#dispatchCount;
    if (endpoint.failures > 0) endpoint.probe ??= request;
    request.tried?.add(endpoint.address);
    return request.dispatchTo(endpoint.connections);
  }

  /** Returns an untried endpoint: an ejected one that is due for a probe, else the least loaded one in use. */
  #chooseUntried(tried: ReadonlySet<string> | undefined): Endpoint | undefined {
    let best: Endpoint | undefined;
    for (const endpoint of this.#endpoints) {
      if (tried?.has(endpoint.address)) continue;
      if (endpoint.failures > 0) {
        if (endpoint.probe === undefined && performance.now() >= endpoint.ejectedUntil) return endpoint;
      } else if (best === undefined || isLessLoaded(endpoint, best)) {
        best = endpoint;
      }
    }
    return best;
  }

  /** Returns a tried endpoint in use, else the ejected endpoint whose ejection ends first. */
  #chooseFallback(tried: ReadonlySet<string> | undefined): Endpoint | undefined {
    let repeated: Endpoint | undefined;
    let ejected: Endpoint | undefined;
    for (const endpoint of this.#endpoints) {
      if (endpoint.failures === 0) {
        if (repeated === undefined || isLessLoaded(endpoint, repeated)) repeated = endpoint;
      } else if (ejected === undefined || returnsBefore(endpoint, ejected, tried)) {
        ejected = endpoint;
      }
    }
    return repeated ?? ejected;
  }

  /** Waits for the first lookup. It observes the abort signal, because handlers of undici do so only after dispatch. */
  #wait(request: BalancedRequest): boolean {
    const { signal } = request.options;
    if (signal instanceof AbortSignal && signal.aborted) return request.fail(signal.reason);
    const stopListening = onAbort(signal, (reason) => {
      this.#waiting = this.#waiting.filter((waiting) => waiting.request !== request);
      request.fail(reason);
    });
    this.#waiting = [...this.#waiting, { request, stopListening }];
    this.#resolver.ready().catch((error: Error) => {
      for (const waiting of this.#takeWaiting()) waiting.fail(error);
      this.#emitDrain();
    });
    return false;
  }

  #takeWaiting(): readonly BalancedRequest[] {
    const taken = this.#waiting;
    this.#waiting = [];
    for (const { stopListening } of taken) stopListening();
    return taken.map(({ request }) => request);
  }

  #updateAddresses({ added, removed }: AddressChange): void {
    const removedEndpoints = this.#endpoints.filter(({ address }) => removed.includes(address));
    this.#endpoints = [
      ...this.#endpoints.filter((endpoint) => !removedEndpoints.includes(endpoint)),
      ...added.map((address) => this.#createEndpoint(address)),
    ];
    for (const endpoint of removedEndpoints) this.#removeEndpoint(endpoint);
    for (const request of this.#takeWaiting()) this.#send(request);
    this.#emitDrain();
  }

  #createEndpoint(address: string): Endpoint {
    return new Endpoint({
      origin: this.#origin.origin,
      address,
      connections: this.#connectionOptions,
      ejection: this.#ejection,
      connectionErrors: this.#connectionErrors,
      onDrain: () => this.#emitDrain(),
    });
  }

  #removeEndpoint(endpoint: Endpoint): void {
    endpoint.draining = true;
    this.#drainingEndpoints.add(endpoint);
    void endpoint.close().finally(() => this.#drainingEndpoints.delete(endpoint));
  }

  #emitDrain(): void {
    this.emit('drain', this.#origin);
  }

  /**
   * Called when a request fails.
   * @returns whether to report the error to the handler of the request
   */
  onRequestFailed(request: BalancedRequest, connections: Connections, error: Error): boolean {
    if (request.responded || this.#state !== 'open' || !this.#connectionErrors.has(error)) return true;
    const { endpoint } = connections;
    // Failures on connections that were already replaced do not count again.
    if (connections === endpoint.connections && !endpoint.draining) this.#eject(endpoint, error);
    return request.sent || !this.#sendElsewhere(request, endpoint);
  }

  #eject(endpoint: Endpoint, error: Error): void {
    if (endpoint.failures === 0) this.#log('warn', endpoint, 'address ejected', error);
    this.#resolver.recheck();
    endpoint.eject(
      error,
      this.#endpoints.some((other) => other !== endpoint && other.failures === 0),
    );
    this.#emitDrain();
  }

  /** Sends a request to another address. Safe for any method, because nothing of the request was sent. */
  #sendElsewhere(request: BalancedRequest, failed: Endpoint): boolean {
    request.unreachable ??= new Set();
    request.unreachable.add(failed.address);
    const endpoint =
      this.#chooseUntried(request.tried ?? request.unreachable) ?? this.#chooseFallback(request.unreachable);
    if (endpoint === undefined || request.unreachable.has(endpoint.address)) return false;
    this.#sendTo(endpoint, request);
    return true;
  }

  /** Called when an ejected address sends a response head. */
  onEjectedResponse(connections: Connections): void {
    const { endpoint } = connections;
    if (connections !== endpoint.connections || endpoint.draining) return;
    this.#log('info', endpoint, 'address recovered');
    endpoint.recover();
  }

  #log(level: 'info' | 'warn', { address }: Endpoint, message: string, err?: Error): void {
    // The line concerns the address, not the current request.
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
    if (this.#waiting.length > 0) await this.#resolver.ready().catch(() => undefined);
    this.#endLookups();
    await new Promise<void>((resolve, reject) => {
      // Pools of undici never resolve `close` after `destroy`.
      this.#stopWaiting = resolve;
      Promise.all([...this.#endpoints, ...this.#drainingEndpoints].map((endpoint) => endpoint.close())).then(
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
    for (const request of this.#takeWaiting()) request.fail(error);
    await Promise.all(
      [...this.#endpoints, ...this.#drainingEndpoints].map((endpoint) => endpoint.destroy(error)),
    );
    this.#stopWaiting?.();
  }

  #endLookups(): void {
    this.#unsubscribe();
    if (this.#ownsResolver) this.#resolver.close();
  }
}

function isLessLoaded(endpoint: Endpoint, other: Endpoint): boolean {
  if (endpoint.inFlight !== other.inFlight) return endpoint.inFlight < other.inFlight;
  return endpoint.lastUsed < other.lastUsed;
}

/** Compares ejected endpoints: untried ones first, then by the end of their ejection. */
function returnsBefore(endpoint: Endpoint, other: Endpoint, tried: ReadonlySet<string> | undefined): boolean {
  const isTried = tried?.has(endpoint.address) ?? false;
  if (isTried !== (tried?.has(other.address) ?? false)) return !isTried;
  return endpoint.ejectedUntil < other.ejectedUntil;
}

/**
 * Returns whether a transfer coding is not `chunked`. Services must not use others, because no request offers one (RFC 9112,
 * section 6.1), and neither the content nor its length could be determined.
 */
function isUnknownCoding(value: string): boolean {
  return value.trim().toLowerCase() !== 'chunked';
}

function onAbort(signal: unknown, callback: (reason: Error) => void): () => void {
  if (!(signal instanceof AbortSignal)) return () => undefined;
  const listener = () => callback(signal.reason);
  signal.addEventListener('abort', listener);
  return () => signal.removeEventListener('abort', listener);
}

/**
 * One request and the handler that undici calls for it. It uses the handler interface that undici 7 uses internally, like `request` and
 * `stream`. undici converts handlers of the newer interface, which parses all response headers a second time.
 */
class BalancedRequest implements Dispatcher.DispatchHandler {
  readonly options: Options;
  /** See `BalancedOptions.tried`. */
  readonly tried: Set<string> | undefined;
  /** Addresses to which connecting failed. */
  unreachable: Set<string> | undefined;
  /** Whether bytes of the request may have reached the service. */
  sent = false;
  /** Whether a response head was received. */
  responded = false;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #balancer: LeastInFlightBalancer;
  /** Connections that the request uses; undefined before dispatch and after the end. */
  #connections: Connections | undefined;
  /** Aborts the request with an error and closes its connection. */
  #abort: ((error: Error) => void) | undefined;

  constructor(balancer: LeastInFlightBalancer, options: Options, handler: Dispatcher.DispatchHandler) {
    if (handler.onError === undefined || handler.onRequestStart !== undefined) {
      throw new errors.InvalidArgumentError('the handler must have onError and no onRequestStart');
    }
    this.#balancer = balancer;
    this.options = options;
    this.tried = options.tried;
    this.#handler = handler;
  }

  /** Fails the request before dispatch. Returns false, the result of `dispatch` in this case. */
  fail(error: Error): false {
    this.#handler.onError?.(error);
    return false;
  }

  dispatchTo(connections: Connections): boolean {
    this.#connections = connections;
    connections.endpoint.inFlight += 1;
    return connections.dispatch(this.options, this);
  }

  onConnect(abort: (error?: Error) => void): void {
    this.sent = true;
    this.#abort = abort;
    this.options.onConnected?.();
    this.#handler.onConnect?.(abort);
  }

  onUpgrade(...upgrade: Parameters<Required<Dispatcher.DispatchHandler>['onUpgrade']>): void {
    this.#onHead();
    upgrade[2].once('close', () => this.#finish());
    this.#handler.onUpgrade?.(...upgrade);
  }

  onResponseStarted(): void {
    this.#handler.onResponseStarted?.();
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void, message: string): boolean {
    this.#onHead();
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
    this.#finish();
    this.#handler.onComplete?.(trailers);
  }

  onError(error: Error): void {
    const connections = this.#finish();
    if (connections === undefined || this.#balancer.onRequestFailed(this, connections, error))
      this.#handler.onError?.(error);
  }

  #onHead(): void {
    this.responded = true;
    const connections = this.#connections;
    if (connections !== undefined && connections.endpoint.failures > 0)
      this.#balancer.onEjectedResponse(connections);
  }

  /** Ends the request. The first call returns its connections. */
  #finish(): Connections | undefined {
    const connections = this.#connections;
    if (connections === undefined) return undefined;
    this.#connections = undefined;
    connections.endpoint.inFlight -= 1;
    if (connections.endpoint.probe === this) connections.endpoint.probe = undefined;
    return connections;
  }
}
