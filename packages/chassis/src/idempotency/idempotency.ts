import type { Database, Queries } from '../database/database.ts';
import { Rollback } from '../database/rollback.ts';
import { Deadline } from '../deadline.ts';
import type { Logger } from '../logging/logger.ts';
import { currentContext } from '../request-context.ts';
import { inSpan } from '../tracing/in-span.ts';
import { withTimeout } from '../with-timeout.ts';
import {
  claimKey,
  type IdempotentResponse,
  inUse,
  type KeyedRequest,
  readResponse,
  type StoredResponse,
  storeResponse,
} from './key-table.ts';

/**
 * Wraps the writes of a use case inside its transaction, so that they run once per idempotency key. A use case passes it to its store,
 * which calls it first in the transaction; the use case itself knows neither keys nor responses. The writes of a repeat may start, and
 * are then rolled back: they follow the claim of the key without waiting for its result.
 */
export type Once<Result> = (tx: Queries, write: () => Promise<Result>) => Promise<Result>;

/** Runs the writes of a request without a key. */
export function always<Result>(_tx: Queries, write: () => Promise<Result>): Promise<Result> {
  return write();
}

/** Runs use cases once per idempotency key. */
export interface Idempotency {
  /**
   * Runs a use case and returns the response that `respond` makes of its result. The response is stored in the transaction of the use
   * case. A repeat gets the stored response; its use case does not run, or its writes are rolled back. If the use case fails, the key is not
   * stored.
   * Waits for a concurrent duplicate: within this process without a connection, across processes in the database.
   * @param request undefined for a request without a key
   * @param options.readsFirst whether to look for a stored response before the use case; true by default. False saves a query if the use
   * case has no work before its transaction that a repeat must not do.
   * @throws Failure `idempotency-key-reused` if the body differs, `idempotency-key-in-use` if the duplicate takes too
   * long
   */
  run<Result, Body>(
    request: KeyedRequest | undefined,
    useCase: (once: Once<Result>) => Promise<Result>,
    respond: (result: Result) => StoredResponse<Body>,
    options?: { readonly readsFirst?: boolean },
  ): Promise<IdempotentResponse<Body>>;
}

/** Default request deadline in milliseconds. */
const defaultDeadlineMs = 6000;
/** Share of the remaining time that a request may wait for a concurrent duplicate. The rest is for its own response. */
const waitShare = 0.8;

/** @param logger writes a debug line for each request with a key; none by default */
export function createIdempotency(database: Database, logger?: Pick<Logger, 'debug'>): Idempotency {
  /** Requests in flight in this process, by key. */
  const inFlight = new Map<string, Promise<unknown>>();

  function findResponse<Body>(request: KeyedRequest): Promise<IdempotentResponse<Body> | undefined> {
    return database.query((db) => readResponse<Body>(db, request));
  }

  function logged<Body>(response: IdempotentResponse<Body>): IdempotentResponse<Body> {
    logger?.debug({ replayed: response.replayed }, 'idempotency key used');
    return response;
  }

  return {
    async run<Result, Body>(
      request: KeyedRequest | undefined,
      useCase: (once: Once<Result>) => Promise<Result>,
      respond: (result: Result) => StoredResponse<Body>,
      { readsFirst = true } = {},
    ): Promise<IdempotentResponse<Body>> {
      if (request === undefined) return { ...respond(await useCase(always)), replayed: false };
      const waitDeadline = Deadline.after(waitMs());
      const id = JSON.stringify([request.caller, request.method, request.path, request.key]);
      for (let duplicate = inFlight.get(id); duplicate !== undefined; duplicate = inFlight.get(id)) {
        if (!(await waitForDuplicate(duplicate, waitDeadline))) continue;
        const stored = await findResponse<Body>(request);
        if (stored !== undefined) return logged(stored);
      }

      async function execute(keyed: KeyedRequest): Promise<IdempotentResponse<Body>> {
        const earlier = readsFirst ? await findResponse<Body>(keyed) : undefined;
        if (earlier !== undefined) return earlier;
        let response = undefined as StoredResponse<Body> | undefined;
        try {
          await useCase(async (tx, write) => {
            const claim = claimKey(tx, keyed, {
              // Not `waitDeadline`: the use case may have taken longer than a duplicate waits, and then the insert would time out.
              waitDeadline: Deadline.after(waitMs()),
              maxStatementMs: database.maxStatementMs,
            });
            const [claimed, writing] = await Promise.allSettled([claim, write()]);
            if (claimed.status === 'rejected') throw claimed.reason;
            if (!claimed.value) throw new RepeatedRequest();
            if (writing.status === 'rejected') throw writing.reason;
            response = respond(writing.value);
            await storeResponse(tx, keyed, response);
            return writing.value;
          });
          if (response === undefined) throw new Error('the use case did not write through `once`');
          return { ...response, replayed: false };
        } catch (error) {
          if (!(error instanceof RepeatedRequest)) throw error;
          // The key may have expired since.
          return (await findResponse<Body>(keyed)) ?? execute(keyed);
        }
      }

      // No `await` between the last lookup and this, so only one of the duplicates gets here.
      const execution = execute(request);
      inFlight.set(id, execution);
      try {
        return logged(await execution);
      } finally {
        inFlight.delete(id);
      }
    },
  };
}

/** Thrown out of the use case to roll back its transaction, because an earlier one has committed the same request. */
class RepeatedRequest extends Rollback {}

/** @returns whether the duplicate succeeded. @throws Failure if it takes too long */
function waitForDuplicate(duplicate: Promise<unknown>, waitDeadline: Deadline): Promise<boolean> {
  const ended = duplicate.then(
    () => true,
    () => false,
  );
  return inSpan(
    'duplicate',
    () => ({ name: 'wait for duplicate' }),
    () =>
      withTimeout(ended, waitDeadline.remainingMs(), () => {
        throw inUse();
      }),
  );
}

/** Returns the milliseconds that a request waits for a concurrent duplicate. */
function waitMs(): number {
  return (currentContext()?.deadline.remainingMs() ?? defaultDeadlineMs) * waitShare;
}
