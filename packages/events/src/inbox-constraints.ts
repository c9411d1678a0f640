import { type ConstraintFailures, fault } from '@zerda/chassis/database/constraints';

/** Constraints of the tables that a service with subscriptions has. */
export const inboxConstraints: ConstraintFailures = {
  inbox_pkey: fault,
  inbox_event_id_source_key: fault,
  inbox_subjects_pkey: fault,
  inbox_failures_pkey: fault,
};
