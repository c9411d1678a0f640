import type { AuditActorType } from '@zerda/contracts/audit';

/** The actor of an action. */
export interface Actor {
  readonly type: AuditActorType;
  /** Subject of the access token or name of the service; undefined for other types. */
  readonly id?: string | undefined;
}

/** Details of an action. They contain ids, roles and statuses, never names, e-mail addresses or secrets. */
export interface AuditDetails {
  /** By default that of the current request or event, else that of the process. */
  readonly actor?: Actor | undefined;
  /** Id of the event on behalf of which the actor acts; by default that of the current event. */
  readonly eventId?: string | undefined;
  readonly entityId?: string | number | undefined;
  /** Names of the members that the request sets. */
  readonly changed?: readonly string[] | undefined;
  readonly newRole?: string | undefined;
  readonly newStatus?: string | undefined;
  readonly newLevel?: string | undefined;
  /** Time limit of the change in seconds. */
  readonly seconds?: number | undefined;
  /** Correlation id or trace id that the change is limited to. */
  readonly sampledId?: string | undefined;
}
