import { Failure } from '../failure.ts';
import type { Database } from './database.ts';
import { driverError } from './database-errors.ts';

/** Maps the name of each constraint and unique index to the failure that its violation causes. */
export type ConstraintFailures = Readonly<Record<string, (cause: unknown) => Failure>>;

/** For constraints that only a bug of the service can violate (500, logged with its cause). */
export const fault = (cause: unknown): Failure => new Failure('internal-error', { cause });

/** For constraints on request values that are stricter than the API contract (422). */
export const invalidValue = (cause: unknown): Failure => new Failure('validation-failed', { cause });

/** Constraints of the tables that every service has. */
export const commonConstraints: ConstraintFailures = {
  // A concurrent duplicate normally waits for the first request and returns its response.
  idempotency_keys_pkey: (cause) => new Failure('idempotency-key-in-use', { retryAfterSeconds: 1, cause }),
  outbox_pkey: fault,
  dead_letters_pkey: fault,
  dead_letters_event_id_side_key: fault,
  dead_letters_side_check: fault,
  schema_migrations_pkey: fault,
  loaded_data_pkey: fault,
};

/** SQLSTATE class 23, integrity_constraint_violation. */
const violation = /^23/;

/** Returns a database that throws the mapped `Failure` if a listed constraint is violated. */
export function mapConstraints(database: Database, failures: ConstraintFailures): Database {
  const mapped = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      const { code = '', constraint = '' } = error instanceof Failure ? {} : driverError(error);
      const failure = violation.test(code) ? failures[constraint] : undefined;
      throw failure === undefined ? error : failure(error);
    });
  return {
    ...database,
    query: (work) => mapped(database.query(work)),
    transaction: (work) => mapped(database.transaction(work)),
  };
}
