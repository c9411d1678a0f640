import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import type { Logger } from '../logging/logger.ts';
import type { PoolNumbers } from '../metrics/metrics.ts';
import { currentContext } from '../request-context.ts';
import type { Database, Queries } from './database.ts';
import { isConnectionLost, isStalePlan } from './database-errors.ts';
import { rootErrorOf, settleDeferred, startDeferring } from './deferred-statements.ts';
import { guardQueries } from './guard-queries.ts';
import { int8, parseInt8 } from './int8.ts';
import { invalidateStatements, PreparingClient } from './preparing-client.ts';
import { retryTransaction } from './retry-transaction.ts';
import { tracedPostgres } from './traced-statements.ts';
import { inTransactionSpan } from './transaction-span.ts';

export interface PostgresOptions {
  readonly url: string;
  /** Maximum number of connections. */
  readonly poolSize: number;
  /** Timeout in milliseconds for a connection from the pool. */
  readonly connectTimeoutMs: number;
  /** Statement timeout in milliseconds. */
  readonly statementTimeoutMs: number;
  /** Whether to use prepared statements. */
  readonly preparedStatements: boolean;
  readonly logger: Logger;
}

export interface PostgresDatabase extends Database {
  readonly pool: PoolNumbers;
}

pg.types.setTypeParser(int8, parseInt8);

/**
 * Opens PostgreSQL with a connection pool. Connects on first use, so it does not fail if the database is unavailable.
 */
export function openPostgres({ logger, ...options }: PostgresOptions): PostgresDatabase {
  /** Whether a pooler is in front of the server; undefined before the first connection. */
  let pooled: boolean | undefined;
  const pool = new pg.Pool({
    connectionString: options.url,
    Client: options.preparedStatements ? PreparingClient : pg.Client,
    max: options.poolSize,
    connectionTimeoutMillis: options.connectTimeoutMs,
    // Statements that do not wait for each other share a round trip, on direct connections only: not every pooler supports it.
    pipeline: true,
    // Covers a dead server that sends nothing; `setLimits` sets the timeouts of the server.
    query_timeout: queryTimeoutMs(options.statementTimeoutMs),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    // The pool awaits it, although its type does not show that.
    onConnect: (client): Promise<void> =>
      setLimits(client as pg.PoolClient, options.statementTimeoutMs).then((isDirect) => {
        pooled = !isDirect;
        (client as pg.PoolClient & { pipeline: boolean }).pipeline = isDirect;
      }),
  });
  // Only the message is logged: the error contains the connection with its cancel key.
  pool.on('error', ({ message }) => logger.warn({ reason: message }, 'idle database connection lost'));
  // A connection in use reports its error by the next query; an `error` event without a listener would end the process.
  pool.on('connect', (client) => client.on('error', () => undefined));

  return {
    engine: 'postgres',
    maxStatementMs: queryTimeoutMs(options.statementTimeoutMs) - options.statementTimeoutMs - reportMs,
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
      max: options.poolSize,
    },
    ...guardQueries({
      async query(work) {
        if (pooled === undefined) (await pool.connect()).release();
        const queries = () => work(queriesOn(pool, { pooled: false }));
        return pooled ? transaction(pool, { ...options, pooled }, work) : retryStalePlan(queries);
      },
      transaction(work) {
        const attempt = () =>
          transaction(pool, { ...options, pooled }, work).catch((error: unknown) => {
            if (isStalePlan(error)) invalidateStatements();
            throw error;
          });
        return inTransactionSpan((onRetry) => retryTransaction(attempt, onRetry));
      },
    }),
    close: () => pool.end(),
  };
}

/** Margin in milliseconds for the server to report a statement timeout. */
const reportMs = 500;

/**
 * Returns the milliseconds after which a connection without a response counts as dead. The longest statement waits for a concurrent
 * duplicate of a request, longer than the statement timeout, and another statement may have been sent behind it.
 */
function queryTimeoutMs(statementTimeoutMs: number): number {
  return 2 * statementTimeoutMs + 1000;
}

/** Retries queries once if a migration has invalidated their prepared statements. */
async function retryStalePlan<T>(queries: () => Promise<T>): Promise<T> {
  try {
    return await queries();
  } catch (error) {
    if (!isStalePlan(error)) throw error;
    invalidateStatements();
    return queries();
  }
}

/**
 * Sets the timeouts of a new connection with a statement, because poolers reject them as connection parameters. Behind
 * a pooler it sets nothing, because the session is shared with other clients. A pooler is recognized by its process id,
 * which differs from that of the server.
 * @returns whether the connection is direct
 */
async function setLimits(client: pg.PoolClient, statementTimeoutMs: number): Promise<boolean> {
  const { processID } = client as unknown as { processID: number };
  const settings = limitNames.map((name) => `set_config('${name}', '${statementTimeoutMs}', false)`);
  const { rowCount } = await client.query(`select ${settings} where pg_backend_pid() = ${processID}`);
  return rowCount === 1;
}

/** The second limit releases the locks of a process that is suspended in a transaction. */
const limitNames = ['statement_timeout', 'idle_in_transaction_session_timeout'] as const;

interface TransactionOptions extends Pick<PostgresOptions, 'statementTimeoutMs'> {
  /** Whether each transaction must set the limits, because the session belongs to a pooler. */
  readonly pooled: boolean | undefined;
}

/**
 * Runs a transaction without drizzle, which ignores the result of COMMIT: after an error that `work` caught, PostgreSQL
 * responds with ROLLBACK. A connection in an unknown state is closed.
 */
async function transaction<T>(
  pool: pg.Pool,
  options: TransactionOptions,
  work: (tx: Queries) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let tx: Queries | undefined;
  let settled = false;
  try {
    await client.query(begin(options));
    // An object of its own: other modules keep state for each transaction.
    tx = Object.create(queriesOn(client, options)) as Queries;
    if (options.pooled === false) startDeferring(tx);
    const result = await work(tx);
    await settleDeferred(tx);
    const { command } = await client.query('commit');
    settled = true;
    if (command !== 'COMMIT') throw new Error('the transaction was rolled back because a statement failed');
    return result;
  } catch (thrown) {
    const error = tx === undefined ? thrown : await rootErrorOf(tx, thrown);
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

/** Query builders by client. Creating one takes longer than building a short query. */
const builders = new WeakMap<pg.Pool | pg.PoolClient, Queries>();

/** Returns the query builder of a client. If the current request is recorded, it is a new one that records each statement. */
function queriesOn(
  client: pg.Pool | pg.PoolClient,
  { pooled = true }: Pick<TransactionOptions, 'pooled'>,
): Queries {
  const existing = builders.get(client);
  const traced = tracedPostgres(client);
  if (traced === client && existing !== undefined) return existing;
  const builder = drizzle(
    pooled ? (new SerialClient(traced) as unknown as pg.PoolClient) : traced,
  ) as unknown as Queries;
  if (traced === client) builders.set(client, builder);
  return builder;
}

/** A client that sends each statement after the result of the one before. */
class SerialClient {
  readonly #client: pg.Pool | pg.PoolClient;
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: pg.Pool | pg.PoolClient) {
    this.#client = client;
  }

  query(statement: pg.QueryConfig, values: unknown[]): Promise<pg.QueryResult> {
    const result = this.#last.then(() => this.#client.query(statement, values));
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/**
 * Returns the statements that start a transaction, as one round trip. Statements must not outlive the request, so the
 * remaining deadline limits them.
 */
function begin({ statementTimeoutMs, pooled = true }: TransactionOptions): string {
  const timeLeftMs = currentContext()?.deadline.remainingMs() ?? statementTimeoutMs;
  if (!pooled && timeLeftMs >= statementTimeoutMs) return 'begin';
  // Zero would disable the limit.
  const limits = [Math.max(1, Math.min(timeLeftMs, statementTimeoutMs)), statementTimeoutMs];
  return ['begin', ...limitNames.map((name, index) => `set local ${name} = ${limits[index]}`)].join('; ');
}
