import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import type { Logger } from '../logging/logger.ts';
import { currentContext } from '../request-context.ts';
import type { Database, Queries } from './database.ts';
import { asFailure, isConnectionLost, isStalePlan } from './database-errors.ts';
import { int8, parseInt8 } from './int8.ts';
import { createNestingGuard } from './nesting-guard.ts';
import { forgetStatements, PreparingClient } from './preparing-client.ts';
import { repeatedly } from './repeat.ts';

export interface PostgresOptions {
  readonly url: string;
  /** Connections at most. */
  readonly poolSize: number;
  /** Milliseconds to wait for a connection. */
  readonly connectTimeoutMs: number;
  /** Milliseconds a statement may take. */
  readonly statementTimeoutMs: number;
  /** Whether each connection keeps the statements that it has parsed. */
  readonly preparedStatements: boolean;
  readonly logger: Logger;
}

export interface PostgresDatabase extends Database {
  readonly pool: { size: number; idle: number; waiting: number };
}

pg.types.setTypeParser(int8, parseInt8);

/** PostgreSQL through a pool. Connections are made when first needed, so a database that is away is no error here. */
export function openPostgres({ logger, ...options }: PostgresOptions): PostgresDatabase {
  /** Whether a pooler stands before the server; unknown until there was a connection. */
  let pooled: boolean | undefined;
  const pool = new pg.Pool({
    connectionString: options.url,
    Client: options.preparedStatements ? PreparingClient : pg.Client,
    max: options.poolSize,
    connectionTimeoutMillis: options.connectTimeoutMs,
    // The limits of the server are set by `setLimits`. Of a server that is gone without a word nothing comes, not even an end.
    query_timeout: silenceMs(options.statementTimeoutMs),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    // The pool waits for it, which its type does not say.
    onConnect: (client): Promise<void> =>
      setLimits(client as pg.PoolClient, options.statementTimeoutMs).then((isOwn) => {
        pooled = !isOwn;
      }),
  });
  const guard = createNestingGuard();
  // The error has the whole connection in it, with the key that cancels its queries.
  pool.on('error', ({ message }) => logger.warn({ reason: message }, 'an idle database connection broke'));
  // One that is in use tells its user by the next query; without a listener the event would end the process.
  pool.on('connect', (client) => client.on('error', () => undefined));

  return {
    engine: 'postgres',
    maxStatementMs: silenceMs(options.statementTimeoutMs) - responseMs,
    pool: {
      get size() {
        return pool.totalCount;
      },
      get idle() {
        return pool.idleCount;
      },
      get waiting() {
        return pool.waitingCount;
      },
    },
    async read(work) {
      guard.outside();
      try {
        if (pooled === undefined) (await pool.connect()).release();
        const queries = () => work(drizzle(pool) as unknown as Queries);
        return await (pooled ? transaction(pool, { ...options, pooled }, work) : freshly(queries));
      } catch (error) {
        throw asFailure(error);
      }
    },
    async write(work) {
      guard.outside();
      try {
        return await guard.transaction(() =>
          repeatedly(() =>
            transaction(pool, { ...options, pooled }, work).catch((error: unknown) => {
              if (isStalePlan(error)) forgetStatements();
              throw error;
            }),
          ),
        );
      } catch (error) {
        throw asFailure(error);
      }
    },
    close: () => pool.end(),
  };
}

/** Milliseconds for the server to report that a statement has reached its limit. */
const responseMs = 500;

/**
 * Milliseconds after which a connection that has not answered counts as dead. The longest statement is the wait for a twin of a request, which
 * may take longer than others.
 */
function silenceMs(statementTimeoutMs: number): number {
  return 2 * statementTimeoutMs + 1000;
}

/** Runs queries once more when a migration has made their prepared statements useless. */
async function freshly<T>(queries: () => Promise<T>): Promise<T> {
  try {
    return await queries();
  } catch (error) {
    if (!isStalePlan(error)) throw error;
    forgetStatements();
    return queries();
  }
}

/**
 * Sets the limits of a new connection by a statement, since poolers refuse them as parameters of the connection. Only where the
 * connection is one of the server's own: behind a pooler they would hold for other clients, and not for this one. A pooler hands
 * out process ids that it makes up, which shows it.
 * @returns whether the connection is one of the server's own
 */
async function setLimits(client: pg.PoolClient, statementTimeoutMs: number): Promise<boolean> {
  const { processID } = client as unknown as { processID: number };
  const settings = limitNames.map((name) => `set_config('${name}', '${statementTimeoutMs}', false)`);
  const { rowCount } = await client.query(`select ${settings} where pg_backend_pid() = ${processID}`);
  return rowCount === 1;
}

/** The second keeps a process that was stopped amid a transaction from keeping others from what it has locked. */
const limitNames = ['statement_timeout', 'idle_in_transaction_session_timeout'] as const;

interface TransactionOptions extends Pick<PostgresOptions, 'statementTimeoutMs'> {
  /** Whether the limits have to be set for each transaction, since the connection belongs to a pooler. */
  readonly pooled: boolean | undefined;
}

/**
 * Begins and commits by hand: drizzle's own transaction does not look at what COMMIT answers, and after an error that
 * `work` kept to itself PostgreSQL answers it with ROLLBACK. A connection whose state is unknown is closed.
 */
async function transaction<T>(
  pool: pg.Pool,
  options: TransactionOptions,
  work: (tx: Queries) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let settled = false;
  try {
    await client.query(begin(options));
    const result = await work(drizzle(client) as unknown as Queries);
    const { command } = await client.query('commit');
    settled = true;
    if (command !== 'COMMIT')
      throw new Error('the transaction was rolled back: a statement in it had failed');
    return result;
  } catch (error) {
    if (!settled && !isConnectionLost(error)) {
      settled = await client.query('rollback').then(
        () => true,
        () => false,
      );
    }
    throw error;
  } finally {
    client.release(!settled);
  }
}

/**
 * Nothing in the transaction may outlive the request: PostgreSQL ends a statement that nobody waits for any more. One round trip for
 * all of it.
 */
function begin({ statementTimeoutMs, pooled = true }: TransactionOptions): string {
  const left = currentContext()?.deadline.remainingMs() ?? statementTimeoutMs;
  if (!pooled && left >= statementTimeoutMs) return 'begin';
  // Zero would be no limit.
  const limits = [Math.max(1, Math.min(left, statementTimeoutMs)), statementTimeoutMs];
  return ['begin', ...limitNames.map((name, index) => `set local ${name} = ${limits[index]}`)].join('; ');
}
