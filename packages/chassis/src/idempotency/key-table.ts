import { createHash } from 'node:crypto';
import { sql } from 'drizzle-orm';
import type { Queries } from '../database/database.ts';
import { driverError } from '../database/database-errors.ts';
import { deferStatement } from '../database/deferred-statements.ts';
import { prepareStatement } from '../database/prepared-query.ts';
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

const expiresBefore = sql.raw(`now() - interval '${retentionHours} hours'`);

/** Whether a row has the key of the values. */
const isKey = sql`caller = ${sql.placeholder('caller')} and method = ${sql.placeholder('method')}
  and path = ${sql.placeholder('path')} and key = ${sql.placeholder('key')}`;

/** Replaces the statement timeout of the transaction, which may be shorter, and remembers it. */
const setTimeoutOfClaim = prepareStatement(sql`
  select set_config('zerda.statement_timeout', current_setting('statement_timeout'), true),
    set_config('statement_timeout', ${sql.placeholder('timeout')}, true)`);

/** Inserts the key, or replaces an expired one, and then restores the statement timeout. The transaction of a repeat does not need it. */
const insertKey = prepareStatement<object>(sql`
  insert into idempotency_keys as stored (caller, method, path, key, fingerprint)
  values (${sql.placeholder('caller')}, ${sql.placeholder('method')}, ${sql.placeholder('path')},
    ${sql.placeholder('key')}, ${sql.placeholder('fingerprint')})
  on conflict (caller, method, path, key) do update
    set fingerprint = excluded.fingerprint, answer = null, created_at = now()
    where stored.created_at < ${expiresBefore}
  returning set_config('statement_timeout', current_setting('zerda.statement_timeout'), true)`);

/**
 * Claims the key for this transaction. Returns false if an earlier transaction has it. The insert waits for an
 * uncommitted duplicate of another process. The statements are sent at once, so that others can follow them.
 * On PGlite, which has one process, the timeout has no effect.
 * @throws Failure `idempotency-key-in-use` if the duplicate takes too long
 */
export async function claimKey(
  tx: Queries,
  { caller, method, path, key, body }: KeyedRequest,
  { waitDeadline, maxStatementMs }: Claim,
): Promise<boolean> {
  // Zero would disable the limit.
  const limit = Math.max(1, Math.min(waitDeadline.remainingMs(), maxStatementMs));
  try {
    const [, rows] = await Promise.all([
      setTimeoutOfClaim(tx, { timeout: String(limit) }),
      insertKey(tx, { caller, method, path, key, fingerprint: fingerprintOf(body) }),
    ]);
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

const updateResponse = prepareStatement(
  sql`update idempotency_keys set answer = ${sql.placeholder('response')}::json where ${isKey}`,
);

/** Stores the response of a request whose key this transaction has claimed. The transaction waits for it at its commit. */
export function storeResponse(
  tx: Queries,
  { caller, method, path, key }: KeyedRequest,
  response: StoredResponse<unknown>,
): Promise<void> {
  const values = { caller, method, path, key, response: JSON.stringify(response) };
  return deferStatement(tx, updateResponse(tx, values));
}

const selectResponse = prepareStatement<{ fingerprint: string; answer: unknown }>(
  sql`select fingerprint, answer from idempotency_keys where ${isKey} and created_at >= ${expiresBefore}`,
);

/**
 * Returns the stored response of an earlier request with the same key; undefined if there is none.
 * @throws Failure `idempotency-key-reused` if the body differs
 */
export async function readResponse<Body>(
  db: Queries,
  request: KeyedRequest,
): Promise<IdempotentResponse<Body> | undefined> {
  const { caller, method, path, key } = request;
  const [row] = await selectResponse(db, { caller, method, path, key });
  if (row === undefined) return undefined;
  if (!fingerprintsOf(request).includes(row.fingerprint)) throw new Failure('idempotency-key-reused');
  return { ...(row.answer as StoredResponse<Body>), replayed: true };
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
