import { createHash } from 'node:crypto';
import { type SQL, sql } from 'drizzle-orm';
import type { Queries } from '../database/database.ts';
import { driverError } from '../database/database-errors.ts';
import { rowsOf } from '../database/rows-of.ts';
import type { Deadline } from '../deadline.ts';
import { Failure } from '../failure.ts';

/** A request that carries an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header). */
export interface KeyedRequest {
  readonly key: string;
  /** Identity of the caller; different callers can use the same key. */
  readonly caller: string;
  readonly method: string;
  readonly path: string;
  /** The parsed body. The same key with another body is rejected. */
  readonly body: unknown;
  /**
   * Further bodies that are considered equal, such as one with a fingerprint of the previous secret; none by default.
   */
  readonly equalBodies?: readonly unknown[];
}

/** The stored response, which a repeat of the request gets. */
export interface StoredResponse<Body> {
  readonly body: Body;
  /** Version of the entity in the body. */
  readonly version?: number;
  /** Path of the created resource. */
  readonly location?: string;
}

/** A response, and whether it was replayed from an earlier request. */
export type IdempotentResponse<Body> = StoredResponse<Body> & { readonly replayed: boolean };

/** Retention of a key, in hours. */
export const retentionHours = 24;

/** Options to claim a key. */
export interface Claim {
  /** Deadline to wait for a concurrent duplicate. */
  readonly waitDeadline: Deadline;
  /** Maximum duration of a statement in milliseconds. The wait must end before. */
  readonly maxStatementMs: number;
}

/**
 * Claims the key for this transaction. Returns false if an earlier transaction has it. The insert waits for an
 * uncommitted duplicate of another process.
 * The timeout of the insert replaces that of the transaction, which may be shorter; it is restored afterwards. On
 * PGlite, which has one process, it has no effect.
 */
export async function claimKey(
  tx: Queries,
  request: KeyedRequest,
  { waitDeadline, maxStatementMs }: Claim,
): Promise<boolean> {
  const { caller, method, path, key, body } = request;
  // Zero would disable the limit.
  const limit = Math.max(1, Math.min(waitDeadline.remainingMs(), maxStatementMs));
  const [previous] = await rowsOf<Record<string, unknown>>(
    tx,
    sql`select current_setting('statement_timeout') as "previousTimeout", set_config('statement_timeout', ${String(limit)}, true)`,
  );
  try {
    const rows = await rowsOf<Record<string, unknown>>(
      tx,
      sql`insert into idempotency_keys as stored (caller, method, path, key, fingerprint)
        values (${caller}, ${method}, ${path}, ${key}, ${fingerprintOf(body)})
        on conflict (caller, method, path, key) do update
          set fingerprint = excluded.fingerprint, answer = null, created_at = now()
          where stored.created_at < ${expiresBefore}
        returning set_config('statement_timeout', ${previous?.previousTimeout}, true)`,
    );
    return rows.length === 1;
  } catch (error) {
    throw timeoutCodes.has(driverError(error).code ?? '') ? inUse() : error;
  }
}

/** query_canceled and lock_not_available: the timeout above, or a shorter lock timeout of the server. */
const timeoutCodes = new Set(['57014', '55P03']);

/** Returns the failure of a request that waited too long for a concurrent duplicate. */
export function inUse(): Failure {
  return new Failure('idempotency-key-in-use', { retryAfterSeconds: 1 });
}

const expiresBefore = sql.raw(`now() - interval '${retentionHours} hours'`);

/** Stores the response of a request whose key this transaction has claimed. */
export async function storeResponse(
  tx: Queries,
  request: KeyedRequest,
  response: StoredResponse<unknown>,
): Promise<void> {
  await tx.execute(
    sql`update idempotency_keys set answer = ${JSON.stringify(response)}::json where ${isKeyOf(request)}`,
  );
}

/**
 * Returns the stored response of an earlier request with the same key; undefined if there is none.
 * @throws Failure `idempotency-key-reused` if the body differs
 */
export async function readResponse<Body>(
  db: Queries,
  request: KeyedRequest,
): Promise<IdempotentResponse<Body> | undefined> {
  const [row] = await rowsOf<Record<string, unknown>>(
    db,
    sql`select fingerprint, answer from idempotency_keys where ${isKeyOf(request)} and created_at >= ${expiresBefore}`,
  );
  if (row === undefined) return undefined;
  if (!fingerprintsOf(request).includes(row.fingerprint as string))
    throw new Failure('idempotency-key-reused');
  return { ...(row.answer as StoredResponse<Body>), replayed: true };
}

function isKeyOf({ caller, method, path, key }: KeyedRequest): SQL {
  return sql`caller = ${caller} and method = ${method} and path = ${path} and key = ${key}`;
}

/** Returns the stored fingerprint, followed by those that are considered equal. */
function fingerprintsOf({ body, equalBodies = [] }: KeyedRequest): string[] {
  return [body, ...equalBodies].map(fingerprintOf);
}

/** Returns a fingerprint that does not depend on the order of members. */
function fingerprintOf(body: unknown): string {
  // A request without a body is hashed as an empty text.
  const text = JSON.stringify(body, sortMembers) ?? '';
  return createHash('sha256').update(text).digest('base64');
}

function sortMembers(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
