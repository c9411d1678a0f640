import { challenge } from '@zerda/chassis/auth/bearer';
import {
  type ConstraintFailures,
  commonConstraints,
  fault,
  invalidValue,
} from '@zerda/chassis/database/constraints';
import { Failure } from '@zerda/chassis/failure';

/** Failure of a write for a user who was deleted in the meantime. */
const userDeleted = (cause: unknown): Failure => new Failure('user-not-found', { cause });
/** The same during a login, where the response must not reveal whether the user exists. */
const userDeletedDuringLogin = (cause: unknown): Failure => new Failure('login-failed', { challenge, cause });

/** Failure that a violation of each constraint of the schema causes. */
export const constraints: ConstraintFailures = {
  ...commonConstraints,
  users_email_key: (cause) => new Failure('email-taken', { cause }),
  users_role_check: invalidValue,
  users_pkey: fault,
  user_counters_pkey: fault,
  credentials_user_id_fkey: userDeleted,
  credentials_pkey: fault,
  sessions_user_id_fkey: userDeletedDuringLogin,
  sessions_pkey: fault,
  known_addresses_user_id_fkey: userDeletedDuringLogin,
  known_addresses_pkey: fault,
  login_attempts_pkey: fault,
  signing_keys_pkey: fault,
};
