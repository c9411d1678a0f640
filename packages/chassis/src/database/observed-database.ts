import { Failure } from '../failure.ts';
import type { Logger } from '../logging/logger.ts';
import { roundMs } from '../logging/round-ms.ts';
import type { DatabaseOutcome, Metrics } from '../metrics/metrics.ts';
import { currentContext } from '../request-context.ts';
import type { Database } from './database.ts';
import { Rollback } from './rollback.ts';

/** Returns the database with the duration of each operation recorded, in metrics and debug lines. */
export function observeDatabase(
  database: Database,
  metrics: Pick<Metrics, 'databaseOperation'>,
  logger: Logger,
): Database {
  async function observe<T>(operation: 'query' | 'transaction', run: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    let outcome: DatabaseOutcome = 'succeeded';
    try {
      return await run();
    } catch (error) {
      outcome = outcomeOf(error);
      throw error;
    } finally {
      const ms = performance.now() - startedAt;
      const context = currentContext();
      metrics.databaseOperation(operation, outcome, ms / 1000, context?.span);
      // Outside of requests, the services poll the database.
      if (context !== undefined && logger.isLevelEnabled('debug'))
        logger.debug({ operation, outcome, duration_ms: roundMs(ms) }, 'database operation');
    }
  }
  return {
    ...database,
    query: (work) => observe('query', () => database.query(work)),
    transaction: (work) => observe('transaction', () => database.transaction(work)),
  };
}

/** A failure that the service itself throws in a transaction, such as `not-found`, is no failure of the database. */
function outcomeOf(error: unknown): DatabaseOutcome {
  if (error instanceof Rollback) return 'succeeded';
  if (!(error instanceof Failure) || error.code === 'internal-error') return 'failed';
  return error.code === 'database-unavailable' ? 'unavailable' : 'succeeded';
}
