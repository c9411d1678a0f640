import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import type { Logger } from '../logging/logger.ts';
import { currentContext } from '../request-context.ts';
import type { Database, Queries } from './database.ts';
import { asFailure, isConnectionLost } from './database-errors.ts';
import { int8, parseInt8 } from './int8.ts';
import { createNestingGuard } from './nesting-guard.ts';
import { PreparingClient } from './preparing-client.ts';
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
  const pool = new pg.Pool({
    connectionString: options.url,
    Client: options.preparedStatements ? PreparingClient : pg.Client,
    max: options.poolSize,
    connectionTimeoutMillis: options.connectTimeoutMs,
    statement_timeout: options.statementTimeoutMs,
    // A process that was stopped amid a transaction must not keep others from what it has locked.
    idle_in_transaction_session_timeout: options.statementTimeoutMs,
    // The two above are the server's. Of a server that is gone without a word nothing comes, not even an end.
    query_timeout: silenceMs(options.statementTimeoutMs),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  });
  const guard = createNestingGuard();
  // The error has the whole connection in it, with the key that cancels its queries.
  pool.on('error', ({ message }) => logger.warn({ reason: message }, 'an idle database connection broke'));
  // One that is in use tells its user by the next query; without a listener the event would end the process.
  pool.on('connect', (client) => client.on('error', () => undefined));

  return {
    engine: 'postgres',
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
        return await work(drizzle(pool) as unknown as Queries);
      } catch (error) {
        throw asFailure(error);
      }
    },
    async write(work) {
      guard.outside();
      try {
        return await guard.transaction(() =>
          repeatedly(() => transaction(pool, options.statementTimeoutMs, work)),
        );
      } catch (error) {
        throw asFailure(error);
      }
    },
    close: () => pool.end(),
  };
}

/**
 * Milliseconds after which a connection that has not answered counts as dead. The longest statement is the wait for a twin of a request, which
 * may take longer than others.
 */
function silenceMs(statementTimeoutMs: number): number {
  return 2 * statementTimeoutMs + 1000;
}

/**
 * Begins and commits by hand: drizzle's own transaction does not look at what COMMIT answers, and after an error that
 * `work` kept to itself PostgreSQL answers it with ROLLBACK. A connection whose state is unknown is closed.
 */
async function transaction<T>(
  pool: pg.Pool,
  statementTimeoutMs: number,
  work: (tx: Queries) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let settled = false;
  try {
    await client.query(begin(statementTimeoutMs));
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

/** Nothing in the transaction may outlive the request: PostgreSQL ends a statement that nobody waits for any more. */
function begin(statementTimeoutMs: number): string {
  const left = currentContext()?.deadline.remainingMs();
  if (left === undefined || left >= statementTimeoutMs) return 'begin';
  // One round trip for both; 0 would mean no limit.
  return `begin; set local statement_timeout = ${Math.max(1, left)}`;
}
