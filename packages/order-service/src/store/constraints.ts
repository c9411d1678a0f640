import {
  type ConstraintFailures,
  commonConstraints,
  fault,
  invalidValue,
} from '@zerda/chassis/database/constraints';
import { inboxConstraints } from '@zerda/events/inbox-constraints';

/** Failure that a violation of each constraint of the schema causes. */
export const constraints: ConstraintFailures = {
  ...commonConstraints,
  ...inboxConstraints,
  orders_quantity_check: invalidValue,
  orders_total_cents_check: invalidValue,
  orders_status_check: invalidValue,
  orders_pkey: fault,
  order_counters_pkey: fault,
  user_order_counters_pkey: fault,
  known_users_pkey: fault,
  verification_keys_pkey: fault,
};
