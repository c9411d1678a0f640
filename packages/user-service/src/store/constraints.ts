import { challenge } from '@zerda/chassis/auth/bearer';
import {
  type ConstraintFailures,
  commonConstraints,
  fault,
  invalidValue,
} from '@zerda/chassis/database/constraints';
import { Failure } from '@zerda/chassis/failure';

/** A row of a user who was deleted after they were looked for. */
const gone = (cause: unknown): Failure => new Failure('user-not-found', { cause });
/** The same in the transaction of a login, which says no more than that it failed. */
const goneAtLogin = (cause: unknown): Failure => new Failure('login-failed', { headers: challenge, cause });

/** What the violation of each constraint of this service's schema is to the caller. */
export const constraints: ConstraintFailures = {
  ...commonConstraints,
  users_email_key: (cause) => new Failure('email-taken', { cause }),
  users_role_check: invalidValue,
  users_pkey: fault,
  user_counters_pkey: fault,
  credentials_user_id_fkey: gone,
  credentials_pkey: fault,
  sessions_user_id_fkey: goneAtLogin,
  sessions_pkey: fault,
  known_addresses_user_id_fkey: goneAtLogin,
  known_addresses_pkey: fault,
  login_attempts_pkey: fault,
  signing_keys_pkey: fault,
};
