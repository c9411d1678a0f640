import { ADDRCONFIG } from 'node:dns';
import { lookup as askSystem } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Logger } from '../logging/logger.ts';
import { runInContext } from '../request-context.ts';

/** Finds the addresses of a host name; rejects, or answers none, when it cannot. */
export type Lookup = (host: string) => Promise<readonly string[]>;

export interface AddressBookOptions {
  /** Host name, or an IP address as a URL has it, which is never looked up. */
  readonly host: string;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** Milliseconds from one look-up to the next; 2000 by default. */
  readonly everyMs?: number;
  /** Milliseconds after which a look-up counts as failed; its answer is taken all the same when it comes. 5000 by default. */
  readonly timeoutMs?: number;
  /** The system's by default, so that search domains and /etc/hosts count. */
  readonly lookup?: Lookup;
}

/** What a look-up found to be different from the one before. */
export interface AddressChange {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** The addresses of one host name, kept fresh by one look-up at a time for everybody who uses them. */
export interface AddressBook {
  /** The last good answer; empty before there has been one. */
  readonly addresses: readonly string[];
  /**
   * The addresses, waiting only when there has never been an answer. The first call starts the look-ups; they go on
   * until `close`.
   * @throws the last look-up's error, with its code (`ENOTFOUND`, `EAI_AGAIN`), when there has never been an answer
   */
  ready(): Promise<readonly string[]>;
  /** Tells of every change, the first answer included; returns how to stop that. */
  onChange(listener: (change: AddressChange) => void): () => void;
  /** Ends the look-ups. The addresses stay as they are. */
  close(): void;
}

/**
 * While look-ups fail the last good answer is kept: a name server that is away must not take services away that are
 * not. Look-ups go on in quiet hours too; else the first request after one would go to an address long gone.
 */
export function createAddressBook(options: AddressBookOptions): AddressBook {
  const { logger, everyMs = 2000, timeoutMs = 5000, lookup = lookUp } = options;
  const host = options.host.replace(/^\[|\]$/g, '');
  const listeners = new Set<(change: AddressChange) => void>();
  let addresses: readonly string[] = isIP(host) === 0 ? [] : [host];
  let timer: NodeJS.Timeout | undefined;
  /** Ends with the look-up in hand, or when its time is over; never rejects. */
  let attempt: Promise<void> | undefined;
  let endAttempt: () => void = () => undefined;
  /** The system still has the question: asking again could only fill the few threads it answers with. */
  let asking = false;
  /** Why there is no new answer, since the last good one. */
  let failure: Error | undefined;
  let closed = false;

  function start(): void {
    // Timer and log lines are of no request, although the first one starts them.
    runInContext(undefined, () => {
      timer = setInterval(refresh, everyMs).unref();
      refresh();
    });
  }

  function refresh(): void {
    if (asking) return;
    asking = true;
    attempt = new Promise((resolve) => {
      const patience = setTimeout(() => {
        fail(lookupError('EAI_AGAIN', host, `no answer within ${timeoutMs} ms`));
        resolve();
      }, timeoutMs);
      endAttempt = () => {
        clearTimeout(patience);
        resolve();
      };
    });
    lookup(host)
      .then(accept, fail)
      .finally(() => {
        asking = false;
        endAttempt();
      });
  }

  function accept(answer: readonly string[]): void {
    if (closed) return;
    const found = new Set(answer);
    if (found.size === 0) {
      fail(lookupError('ENOTFOUND', host, 'no address'));
      return;
    }
    if (failure !== undefined) logger.info({ host }, 'look-up answers again');
    failure = undefined;
    const added = [...found].filter((address) => !addresses.includes(address));
    const removed = addresses.filter((address) => !found.has(address));
    if (added.length === 0 && removed.length === 0) return;
    addresses = [...found];
    for (const listener of listeners) listener({ added, removed });
  }

  function fail(error: Error): void {
    if (closed) return;
    if (failure === undefined) logger.warn({ host, err: error, addresses }, 'look-up fails');
    failure = error;
  }

  return {
    get addresses() {
      return addresses;
    },
    async ready() {
      if (addresses.length > 0) return addresses;
      if (timer === undefined && !closed) start();
      await attempt;
      if (addresses.length > 0) return addresses;
      throw failure ?? lookupError('ENOTFOUND', host, 'look-ups have ended');
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close() {
      closed = true;
      clearInterval(timer);
      endAttempt();
    },
  };
}

/** As `net.connect` asks: addresses of a family that this machine has no network of are left out. */
async function lookUp(host: string): Promise<readonly string[]> {
  const answers = await askSystem(host, { all: true, hints: ADDRCONFIG });
  return answers.map(({ address }) => address);
}

/** In the form of the system's own errors. */
function lookupError(code: 'EAI_AGAIN' | 'ENOTFOUND', hostname: string, why: string): Error {
  return Object.assign(new Error(`getaddrinfo ${code} ${hostname}: ${why}`), {
    code,
    syscall: 'getaddrinfo',
    hostname,
  });
}
