/** Kinds of entities in audit lines. */
export type AuditEntity =
  | 'user'
  | 'session'
  | 'order'
  | 'dead-letter'
  | 'projection'
  | 'signing-key'
  | 'log-level'
  | 'route';

/** An action in audit lines. */
export interface AuditActionDefinition {
  /** Kind of the entity that the action changes. */
  readonly entity: AuditEntity;
  readonly description: string;
}

/** All actions of audit lines, by name: the entity and what happens to it. */
export const auditActions = {
  'session.create': {
    entity: 'session',
    description: 'A login. The entity id is the user, if the account exists.',
  },
  'session.refresh': {
    entity: 'session',
    description: 'An exchange of a refresh token. The entity id is the user, if the session exists.',
  },
  'session.revoke': {
    entity: 'session',
    description:
      'A logout, or the reuse of a refresh token. The entity id is the user, if the session exists.',
  },
  'user.create': {
    entity: 'user',
    description: 'A user is created, by an admin, by sign-up or as the first admin.',
  },
  'user.update': {
    entity: 'user',
    description: '`changed` names the members that the request sets, such as `role` or `password`.',
  },
  'user.delete': { entity: 'user', description: 'A user is deleted with the password and all sessions.' },
  'order.create': { entity: 'order', description: 'An order is placed.' },
  'order.change-status': { entity: 'order', description: 'An order gets the status `new_status`.' },
  'order.cancel': {
    entity: 'order',
    description: 'An order is canceled, by a request or because its user was deleted.',
  },
  'dead-letter.replay': { entity: 'dead-letter', description: 'A dead letter is processed or sent again.' },
  'dead-letter.discard': { entity: 'dead-letter', description: 'A dead letter is deleted.' },
  'projection.replay': {
    entity: 'projection',
    description: 'order-service synchronizes its known users with user-service.',
  },
  'signing-key.create': { entity: 'signing-key', description: 'The first key is created.' },
  'signing-key.rotate': {
    entity: 'signing-key',
    description: 'A next key is created. The entity id is its `kid`.',
  },
  'signing-key.replace': {
    entity: 'signing-key',
    description: 'A key is created and all others are deleted (`keys rotate --now`).',
  },
  'log-level.set': {
    entity: 'log-level',
    description: 'The log level of a process changes for a limited time, for all or for one request.',
  },
  'log-level.reset': { entity: 'log-level', description: 'A process returns to its configured log level.' },
  'route.call': {
    entity: 'route',
    description: 'The gateway rejects a write that its route does not allow. The entity id is the route.',
  },
} as const satisfies Readonly<Record<string, AuditActionDefinition>>;

export type AuditAction = keyof typeof auditActions;

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
