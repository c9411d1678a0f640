import { ADDRCONFIG } from 'node:dns';
import { lookup as systemLookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Logger } from '@zerda/chassis/logging/logger';
import { runInContext } from '@zerda/chassis/request-context';

/** Resolves a host name to addresses. Rejects, or returns an empty list, if it cannot. */
export type Lookup = (host: string) => Promise<readonly string[]>;

export interface AddressResolverOptions {
  /** Host of a URL: a name, or an IP address, which is never looked up. */
  readonly host: string;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Milliseconds between lookups; 2,000 by default. After a lookup that failed, the next one comes after 500 at most. */
  readonly intervalMs?: number;
  /** Milliseconds after which a lookup counts as failed; 5,000 by default. A late result is still used. */
  readonly timeoutMs?: number;
  /** Lookup function; by default that of the system, which uses search domains and /etc/hosts. */
  readonly lookup?: Lookup;
}

/** Difference between two lookups. */
export interface AddressChange {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** The addresses of one host name, updated by periodic lookups and shared by all users. */
export interface AddressResolver {
  /** Addresses of the last successful lookup; empty before the first one. */
  readonly addresses: readonly string[];
  /**
   * Returns the addresses. It waits only if no lookup has succeeded yet. The first call starts the lookups, which run until `close`.
   * @throws the error of the last lookup, with its code (`ENOTFOUND`, `EAI_AGAIN`), if no lookup has succeeded yet
   */
  ready(): Promise<readonly string[]>;
  /** Reports that an address cannot be reached. Starts a lookup, unless the last one was started less than 250 ms ago. */
  recheck(): void;
  /** Subscribes to changes, including the first result. Returns a function that unsubscribes. */
  onChange(listener: (change: AddressChange) => void): () => void;
  /** Stops the lookups. The addresses stay. */
  close(): void;
}

/** Minimum milliseconds between two lookups that failures cause. */
const recheckMs = 250;

/** Maximum milliseconds from a lookup that failed to the next one: a service without ready pods has no address until one is ready. */
const failedIntervalMs = 500;

/**
 * Creates a resolver. While lookups fail, it keeps the last addresses: an unavailable name server must not make services unavailable.
 * Lookups continue without traffic, so that the first request after an idle period does not use stale addresses.
 */
export function createAddressResolver(options: AddressResolverOptions): AddressResolver {
  const { logger, intervalMs = 2000, timeoutMs = 5000, lookup = lookUp } = options;
  const host = options.host.replace(/^\[|\]$/g, '');
  const listeners = new Set<(change: AddressChange) => void>();
  let addresses: readonly string[] = isIP(host) === 0 ? [] : [host];
  /** Starts the next lookup. */
  let timer: NodeJS.Timeout | undefined;
  /** Settles with the last lookup or its timeout; never rejects. Undefined before the first one. */
  let attempt: Promise<void> | undefined;
  let endAttempt: () => void = () => undefined;
  /** A lookup is in flight. Further ones would only occupy the few threads that serve lookups. */
  let lookupInFlight = false;
  let lookupStartedAt = Number.NEGATIVE_INFINITY;
  /** Error of the last lookup since the last success. */
  let failure: Error | undefined;
  let closed = false;

  function start(): void {
    // Timer and log lines do not belong to the request that starts them.
    runInContext(undefined, refresh);
  }

  function refresh(): void {
    if (lookupInFlight) return;
    clearTimeout(timer);
    lookupInFlight = true;
    lookupStartedAt = performance.now();
    attempt = new Promise((resolve) => {
      const timeout = setTimeout(() => {
        fail(lookupError('EAI_AGAIN', host, `no response within ${timeoutMs} ms`));
        resolve();
      }, timeoutMs);
      endAttempt = () => {
        clearTimeout(timeout);
        resolve();
      };
    });
    lookup(host)
      .then(accept, fail)
      .finally(() => {
        lookupInFlight = false;
        endAttempt();
        if (!closed) timer = setTimeout(refresh, nextInterval()).unref();
      });
  }

  function nextInterval(): number {
    return failure === undefined ? intervalMs : Math.min(intervalMs, failedIntervalMs);
  }

  function accept(response: readonly string[]): void {
    if (closed) return;
    const resolved = new Set(response);
    if (resolved.size === 0) {
      fail(lookupError('ENOTFOUND', host, 'no address'));
      return;
    }
    if (failure !== undefined) logger.info({ host }, 'DNS lookup recovered');
    failure = undefined;
    const added = [...resolved].filter((address) => !addresses.includes(address));
    const removed = addresses.filter((address) => !resolved.has(address));
    if (added.length === 0 && removed.length === 0) return;
    addresses = [...resolved];
    for (const listener of listeners) listener({ added, removed });
  }

  function fail(error: Error): void {
    if (closed) return;
    if (failure === undefined) logger.warn({ host, err: error, addresses }, 'DNS lookup failed');
    failure = error;
  }

  function recheck(): void {
    if (closed || attempt === undefined || performance.now() - lookupStartedAt < recheckMs) return;
    runInContext(undefined, refresh);
  }

  return {
    get addresses() {
      return addresses;
    },
    recheck,
    async ready() {
      if (addresses.length > 0) return addresses;
      if (attempt === undefined && !closed) start();
      else recheck();
      await attempt;
      if (addresses.length > 0) return addresses;
      throw failure ?? lookupError('ENOTFOUND', host, 'the resolver is closed');
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close() {
      closed = true;
      clearTimeout(timer);
      endAttempt();
    },
  };
}

/** Looks up a host like `net.connect`: only addresses of families that this machine has. */
async function lookUp(host: string): Promise<readonly string[]> {
  const responses = await systemLookup(host, { all: true, hints: ADDRCONFIG });
  return responses.map(({ address }) => address);
}

/** Creates an error in the form of system errors. */
function lookupError(code: 'EAI_AGAIN' | 'ENOTFOUND', hostname: string, reason: string): Error {
  return Object.assign(new Error(`getaddrinfo ${code} ${hostname}: ${reason}`), {
    code,
    syscall: 'getaddrinfo',
    hostname,
  });
}
