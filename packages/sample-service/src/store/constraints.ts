import { type ConstraintFailures, commonConstraints, fault } from '@zerda/chassis/database/constraints';
import { inboxConstraints } from '@zerda/events/inbox-constraints';

/** Failure that a violation of each constraint of the schema causes. */
export const constraints: ConstraintFailures = {
  ...commonConstraints,
  ...inboxConstraints,
  sample_items_pkey: fault,
  verification_keys_pkey: fault,
};
