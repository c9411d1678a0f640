/** Name of an action in audit lines: the kind of the entity that it changes, a dot, and what happens to it. */
export type AuditAction = `${string}.${string}`;

/** Actions with their meanings. */
export type AuditActions = Readonly<Record<AuditAction, string>>;

/** Actions that every service has. Those of one service are in its contract. */
export const commonAuditActions = {
  'dead-letter.replay': 'A dead letter is processed or sent again.',
  'dead-letter.discard': 'A dead letter is deleted.',
  'log-level.set': 'The log level of a process changes for a limited time, for all or for one request.',
  'log-level.reset': 'A process returns to its configured log level.',
} as const satisfies AuditActions;

/** Returns the kind of the entity that an action changes. */
export function auditEntityOf(action: AuditAction): string {
  return action.slice(0, action.lastIndexOf('.'));
}

/** All outcomes of audit lines. */
export const auditOutcomes = {
  succeeded: 'The change is committed.',
  replayed: 'The request repeats an earlier one with the same idempotency key. Nothing changes.',
  denied: 'The caller is not authenticated (401) or not allowed (403). Nothing changes.',
  throttled: 'A limit on logins or password changes is exceeded (429). Nothing changes.',
  failed:
    'Any other problem, such as a wrong password or a conflict. Nothing changes, unless `reason` is `database-unavailable`: then the commit is not confirmed.',
} as const;

export type AuditOutcome = keyof typeof auditOutcomes;

/** All kinds of actors in audit lines. */
export const auditActors = {
  user: '`actor` is the subject of the access token; for tokens of user-service, the user id.',
  anonymous: 'A client without a valid token, or any client with AUTH=off.',
  service:
    '`actor` is the name of the service that acts: the sender of the event `event_id`, or the process itself.',
  operator: 'A command of a service, or a call that is signed with MANAGEMENT_SECRET.',
} as const;

export type AuditActorType = keyof typeof auditActors;

/** Fields that only audit lines have. Lines also have those of every line of a request. */
export const auditFields = {
  stream: 'Always `audit`. Collectors route by this field.',
  action: 'What happened; see below.',
  outcome: 'Result of the action; see below.',
  reason:
    'Problem code, unless the outcome is `succeeded` or `replayed`, or an event was processed again without success.',
  actor_type: 'Kind of the actor; see below.',
  actor: 'Id of the actor; absent for `anonymous` and `operator`.',
  entity_type: 'Kind of the entity.',
  entity_id: 'Id of the entity; absent if there is none.',
  event_id: 'Id of the event on behalf of which a service acts.',
  changed: 'Names of the members that the request sets.',
  new_role: 'Role that the request assigns.',
  new_status: 'Status that the request sets.',
  new_level: 'Log level that the call sets.',
  seconds: 'Time in seconds after which the configured log level returns.',
  sampled_id: 'Correlation id or trace id that the log level is limited to.',
} as const;
