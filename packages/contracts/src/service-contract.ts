import type { AuditActions } from './audit.ts';
import type { AuthorizationRow } from './authorization.ts';
import type { EventDefinition } from './events/definition.ts';
import type { Operation } from './protocol/operation.ts';

/** What a service offers to others: its API and its events. Documents, tests and tables are derived from it. */
export interface ServiceContract {
  /** Name of the service: its folder in `packages/`. */
  readonly name: string;
  /** Short description of the API in its OpenAPI document. */
  readonly description: string;
  /** Descriptions of the tags of its operations, by name. */
  readonly tags: Readonly<Record<string, string>>;
  /** Meanings of the actions in its audit lines, by name. Each operation that can change state has one. */
  readonly audit: AuditActions;
  /** Operations of the API by name. Names are unique in the system. */
  readonly operations: Readonly<Record<string, Operation>>;
  /** Operations of the management port that other services call, by name; none by default. Their requests are signed. */
  readonly management?: Readonly<Record<string, Operation>>;
  /** Statuses of each operation of the API by caller. */
  readonly authorization: readonly AuthorizationRow[];
  /** Events that the service sends; undefined if it sends none. */
  readonly sends?: EventChannel;
  /** Events of another service that the service receives; undefined if it receives none. */
  readonly receives?: EventFlow;
}

/** Events that a service sends or receives. */
export interface EventFlow {
  /** Events by name. Those that a service receives are also the names of its handlers. */
  readonly events: Readonly<Record<string, EventDefinition>>;
  /** What the service does with them. */
  readonly description: string;
}

/** Events that a service sends, all with the same kind of subject. */
export interface EventChannel extends EventFlow {
  /** Description of the channel. */
  readonly channel: string;
}
