import { createHash } from 'node:crypto';
import { type SQL, sql } from 'drizzle-orm';
import type { Database, Queries } from '../database/database.ts';
import { driverError } from '../database/database-errors.ts';
import { rowsOf } from '../database/rows-of.ts';
import { Deadline } from '../deadline.ts';
import { Failure } from '../failure.ts';
import { currentContext } from '../request-context.ts';
import { within } from '../within.ts';

/** A request that carries an `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header). */
export interface KeyedRequest {
  readonly key: string;
  /** Whose key it is: two callers can use the same one. */
  readonly caller: string;
  readonly method: string;
  readonly path: string;
  /** The parsed body: the same key with another body is an error of the caller's. */
  readonly body: unknown;
  /** Further bodies that count as the same, such as one with a fingerprint under the previous secret; none by default. */
  readonly equalBodies?: readonly unknown[];
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

/** Milliseconds that a request has when nobody set a deadline. */
const standardDeadlineMs = 6000;
/** Part of the deadline that may go by with waiting for a twin: the rest is for the answer. */
const waitShare = 0.8;

/** Requests in hand in this process, by database and key. */
const inHand = new WeakMap<Database, Map<string, Promise<unknown>>>();

/**
 * Runs `work` in a transaction, once for each key: its answer is stored in the same transaction, and a repeat gets it
 * without `work` running. A twin in flight is waited for: one of this process here, where waiting costs no connection, one of
 * another process in the database. Work that fails leaves no trace of the key.
 * @throws Failure `idempotency-key-reused` for another body, `idempotency-key-in-use` when the twin takes too long
 */
export async function once<Body>(
  database: Database,
  request: KeyedRequest | undefined,
  work: (tx: Queries) => Promise<KeptAnswer<Body>>,
): Promise<Answered<Body>> {
  if (request === undefined) return { ...(await database.write(work)), replayed: false };
  const fingerprints = fingerprintsOf(request);
  const patience = Deadline.after(waitMs());
  const running = inHand.get(database) ?? new Map<string, Promise<unknown>>();
  inHand.set(database, running);
  const id = JSON.stringify([request.caller, request.method, request.path, request.key]);

  for (let twin = running.get(id); twin !== undefined; twin = running.get(id)) {
    if (!(await succeeds(twin, patience))) continue;
    const kept = await database.read((db) => findAnswer<Body>(db, request, fingerprints));
    if (kept !== undefined) return kept;
  }
  // Nothing is awaited between the last look and this, so of many twins one gets here.
  const own = database.write((tx) =>
    runOnce(tx, request, { fingerprints, patience, maxStatementMs: database.maxStatementMs }, work),
  );
  running.set(id, own);
  try {
    return await own;
  } finally {
    running.delete(id);
  }
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
  return database.read((db) => findAnswer<Body>(db, request, fingerprintsOf(request)));
}

/** @returns whether the twin got its answer. @throws Failure when it takes too long */
function succeeds(twin: Promise<unknown>, patience: Deadline): Promise<boolean> {
  const ended = twin.then(
    () => true,
    () => false,
  );
  return within(ended, patience.remainingMs(), () => {
    throw inUse();
  });
}

/** How a request takes its key. */
interface Claim {
  readonly fingerprints: Fingerprints;
  /** Time left to wait for a concurrent duplicate. */
  readonly patience: Deadline;
  /** Milliseconds that a connection may wait for a statement: the wait has to end before. */
  readonly maxStatementMs: number;
}

async function runOnce<Body>(
  tx: Queries,
  request: KeyedRequest,
  claimed: Claim,
  work: (tx: Queries) => Promise<KeptAnswer<Body>>,
): Promise<Answered<Body>> {
  if (!(await claim(tx, request, claimed))) return replay<Body>(tx, request, claimed.fingerprints);
  const answer = await work(tx);
  await tx.execute(
    sql`update idempotency_keys set answer = ${JSON.stringify(answer)}::json where ${isKeyOf(request)}`,
  );
  return { ...answer, replayed: false };
}

/**
 * Takes the key for this transaction; false when an earlier one has it. The insert waits for a twin of another process that
 * has not committed yet. The limit holds for this statement, in place of the transaction's, which may be shorter, and for
 * what reads the earlier one's answer; on PGlite, which has one process, it does nothing.
 */
async function claim(
  tx: Queries,
  request: KeyedRequest,
  { fingerprints: [fingerprint], patience, maxStatementMs }: Claim,
): Promise<boolean> {
  const { caller, method, path, key } = request;
  // Zero would be no limit.
  const limit = Math.max(1, Math.min(patience.remainingMs(), maxStatementMs));
  const [before] = await rowsOf<Record<string, unknown>>(
    tx,
    sql`select current_setting('statement_timeout') as usual, set_config('statement_timeout', ${String(limit)}, true)`,
  );
  try {
    const rows = await rowsOf<Record<string, unknown>>(
      tx,
      sql`insert into idempotency_keys as kept (caller, method, path, key, fingerprint)
        values (${caller}, ${method}, ${path}, ${key}, ${fingerprint})
        on conflict (caller, method, path, key) do update
          set fingerprint = excluded.fingerprint, answer = null, created_at = now()
          where kept.created_at < ${oldest}
        returning set_config('statement_timeout', ${before?.usual}, true)`,
    );
    return rows.length === 1;
  } catch (error) {
    throw waitedTooLong.has(driverError(error).code ?? '') ? inUse() : error;
  }
}

/** query_canceled and lock_not_available: the limit above, or a shorter one that the server has for locks. */
const waitedTooLong = new Set(['57014', '55P03']);

function inUse(): Failure {
  return new Failure('idempotency-key-in-use', { headers: { 'Retry-After': '1' } });
}

const oldest = sql.raw(`now() - interval '${keptForHours} hours'`);

/** Milliseconds that a request which begins now waits for its twin. */
function waitMs(): number {
  return (currentContext()?.deadline.remainingMs() ?? standardDeadlineMs) * waitShare;
}

async function replay<Body>(
  tx: Queries,
  request: KeyedRequest,
  fingerprints: Fingerprints,
): Promise<Answered<Body>> {
  const answer = await findAnswer<Body>(tx, request, fingerprints);
  if (answer === undefined) throw new Error('a key was committed without its answer');
  return answer;
}

async function findAnswer<Body>(
  db: Queries,
  request: KeyedRequest,
  fingerprints: Fingerprints,
): Promise<Answered<Body> | undefined> {
  const [row] = await rowsOf<Record<string, unknown>>(
    db,
    sql`select fingerprint, answer from idempotency_keys where ${isKeyOf(request)} and created_at >= ${oldest}`,
  );
  if (row === undefined) return undefined;
  if (!fingerprints.includes(row.fingerprint as string)) throw new Failure('idempotency-key-reused');
  return { ...(row.answer as KeptAnswer<Body>), replayed: true };
}

function isKeyOf({ caller, method, path, key }: KeyedRequest): SQL {
  return sql`caller = ${caller} and method = ${method} and path = ${path} and key = ${key}`;
}

/** The fingerprint that is stored, then those that count as the same. */
type Fingerprints = readonly [string, ...string[]];

function fingerprintsOf({ body, equalBodies = [] }: KeyedRequest): Fingerprints {
  return [fingerprintOf(body), ...equalBodies.map(fingerprintOf)];
}

/** The same for two bodies exactly when they mean the same: the order of members does not count. */
function fingerprintOf(body: unknown): string {
  // A request without a body has the text of nothing.
  const text = JSON.stringify(body, inOrder) ?? '';
  return createHash('sha256').update(text).digest('base64');
}

function inOrder(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
