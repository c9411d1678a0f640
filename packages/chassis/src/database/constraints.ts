import { Failure } from '../failure.ts';
import type { Database } from './database.ts';
import { driverError } from './database-errors.ts';

/** What the violation of each constraint and unique index is to the caller, by its name. */
export type ConstraintFailures = Readonly<Record<string, (cause: unknown) => Failure>>;

/** A constraint that only a fault of the service can violate (500, logged with its cause). */
export const fault = (cause: unknown): Failure => new Failure('internal-error', { cause });

/** A constraint on values of a request, whose contract is narrower (422). */
export const invalidValue = (cause: unknown): Failure => new Failure('validation-failed', { cause });

/** The constraints of the tables that every service has. */
export const commonConstraints: ConstraintFailures = {
  // A concurrent duplicate: the insert waits for it, and then finds its response.
  idempotency_keys_pkey: (cause) =>
    new Failure('idempotency-key-in-use', { headers: { 'Retry-After': '1' }, cause }),
  outbox_pkey: fault,
  dead_letters_pkey: fault,
  dead_letters_event_id_side_key: fault,
  dead_letters_side_check: fault,
  schema_migrations_pkey: fault,
  loaded_data_pkey: fault,
};

/** SQLSTATE class 23, integrity_constraint_violation. */
const violation = /^23/;

/** The same database, whose transactions and queries throw a `Failure` for the violation of a constraint that is listed. */
export function mapConstraints(database: Database, failures: ConstraintFailures): Database {
  const mapped = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      const { code = '', constraint = '' } = error instanceof Failure ? {} : driverError(error);
      const failure = violation.test(code) ? failures[constraint] : undefined;
      throw failure === undefined ? error : failure(error);
    });
  return {
    ...database,
    read: (work) => mapped(database.read(work)),
    write: (work) => mapped(database.write(work)),
  };
}
