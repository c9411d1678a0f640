import { createHash } from 'node:crypto';
import { type SQL, sql } from 'drizzle-orm';
import type { Database, Queries } from '../database/database.ts';
import { driverError } from '../database/database-errors.ts';
import { Failure } from '../failure.ts';
import { currentContext } from '../request-context.ts';

/** A request that carries an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header). */
export interface KeyedRequest {
  readonly key: string;
  /** Whose key it is: two callers can use the same one. */
  readonly caller: string;
  readonly method: string;
  readonly path: string;
  /** The parsed body: the same key with another body is an error of the caller's. */
  readonly body: unknown;
}

/** What a repeat of the request is answered with. */
export interface KeptAnswer<Body> {
  readonly body: Body;
  /** Version of what the body shows. */
  readonly version?: number;
  /** Path of what was made. */
  readonly location?: string;
}

/** An answer, and whether it is that of an earlier request. */
export type Answered<Body> = KeptAnswer<Body> & { readonly replayed: boolean };

/** Time that a key is good for. */
export const keptForHours = 24;

/** Milliseconds that a request waits for its twin when it has no deadline of its own. */
const standardWaitMs = 5000;
/** Part of the deadline that may go by with waiting: the rest is for the answer. */
const waitShare = 0.8;

/**
 * Runs `work` in a transaction, once for each key: its answer is stored in the same transaction, and a repeat gets it
 * without `work` running. A twin in flight is waited for. Work that fails leaves no trace of the key.
 * @throws Failure `idempotency-key-reused` for another body, `idempotency-key-in-use` when the twin takes too long
 */
export async function once<Body>(
  database: Database,
  request: KeyedRequest | undefined,
  work: (tx: Queries) => Promise<KeptAnswer<Body>>,
): Promise<Answered<Body>> {
  if (request === undefined) return { ...(await database.write(work)), replayed: false };
  const fingerprint = fingerprintOf(request.body);
  return database.write(async (tx) => {
    if (!(await claim(database, tx, request, fingerprint))) return replay<Body>(tx, request, fingerprint);
    const answer = await work(tx);
    await tx.execute(
      sql`update idempotency_keys set answer = ${JSON.stringify(answer)}::json where ${isKeyOf(request)}`,
    );
    return { ...answer, replayed: false };
  });
}

/**
 * The answer of an earlier request with the same key; undefined when there is none. For what must be done before the
 * transaction and would fail a repeat that needs it no more.
 * @throws Failure `idempotency-key-reused`
 */
export async function findKept<Body>(
  database: Database,
  request: KeyedRequest | undefined,
): Promise<Answered<Body> | undefined> {
  if (request === undefined) return undefined;
  return database.read((db) => findAnswer<Body>(db, request, fingerprintOf(request.body)));
}

/**
 * Takes the key for this transaction; false when an earlier one has it. The insert waits for a twin that has not
 * committed yet, and for nothing else: the limit on waiting holds for this statement alone.
 */
async function claim(
  database: Database,
  tx: Queries,
  request: KeyedRequest,
  fingerprint: string,
): Promise<boolean> {
  const { caller, method, path, key } = request;
  const bounded = database.engine === 'postgres';
  if (bounded) await tx.execute(sql.raw(`set local lock_timeout = ${waitMs()}`));
  try {
    const rows = await rowsOf(
      tx,
      sql`insert into idempotency_keys as kept (caller, method, path, key, fingerprint)
        values (${caller}, ${method}, ${path}, ${key}, ${fingerprint})
        on conflict (caller, method, path, key) do update
          set fingerprint = excluded.fingerprint, answer = null, created_at = now()
          where kept.created_at < ${oldest}
        returning key`,
    );
    if (bounded) await tx.execute(sql`set local lock_timeout to default`);
    return rows.length === 1;
  } catch (error) {
    if (driverError(error).code !== lockNotAvailable) throw error;
    throw new Failure('idempotency-key-in-use', { headers: { 'Retry-After': '1' } });
  }
}

/** SQLSTATE of a lock timeout. */
const lockNotAvailable = '55P03';

const oldest = sql.raw(`now() - interval '${keptForHours} hours'`);

function waitMs(): number {
  const left = currentContext()?.deadline.remainingMs() ?? standardWaitMs;
  return Math.max(1, Math.floor(left * waitShare));
}

async function replay<Body>(
  tx: Queries,
  request: KeyedRequest,
  fingerprint: string,
): Promise<Answered<Body>> {
  const answer = await findAnswer<Body>(tx, request, fingerprint);
  if (answer === undefined) throw new Error('a key was committed without its answer');
  return answer;
}

async function findAnswer<Body>(
  db: Queries,
  request: KeyedRequest,
  fingerprint: string,
): Promise<Answered<Body> | undefined> {
  const [row] = await rowsOf(
    db,
    sql`select fingerprint, answer from idempotency_keys where ${isKeyOf(request)} and created_at >= ${oldest}`,
  );
  if (row === undefined) return undefined;
  if (row.fingerprint !== fingerprint) throw new Failure('idempotency-key-reused');
  return { ...(row.answer as KeptAnswer<Body>), replayed: true };
}

function isKeyOf({ caller, method, path, key }: KeyedRequest): SQL {
  return sql`caller = ${caller} and method = ${method} and path = ${path} and key = ${key}`;
}

async function rowsOf(db: Queries, query: SQL): Promise<Record<string, unknown>[]> {
  return ((await db.execute(query)) as unknown as { rows: Record<string, unknown>[] }).rows;
}

/** The same for two bodies exactly when they mean the same: the order of members does not count. */
function fingerprintOf(body: unknown): string {
  return createHash('sha256').update(JSON.stringify(body, inOrder)).digest('base64');
}

function inOrder(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
