import type { z } from 'zod';
import type { eventPrefix } from './envelope.ts';

/** Definition of one event type. Senders, receivers and documents are derived from it. */
export interface EventDefinition<Data extends z.ZodObject = z.ZodObject> {
  /** Name and version of the schema. An incompatible change requires a new version. */
  readonly type: `${typeof eventPrefix}.${string}.v${number}`;
  /** `source` of the event: the service that sends it. */
  readonly source: `/${string}`;
  /** Collection of the subject, such as `users`; the first segment of `subject`. */
  readonly subjects: string;
  readonly summary: string;
  readonly description?: string;
  /** Schema of the sent data: strict and flat, without derived members. */
  readonly data: Data;
}

/** Data of an event as the receiver gets it. */
export type DataOf<Definition extends EventDefinition> = z.output<Definition['data']>;

/** Returns the definition with its exact type, so that data is checked against it. */
export function defineEvent<Data extends z.ZodObject>(
  definition: EventDefinition<Data>,
): EventDefinition<Data> {
  return definition;
}

/** Returns the `subject` of an event about the user or order with this id. */
export function subjectOf({ subjects }: Pick<EventDefinition, 'subjects'>, id: number): string {
  return `${subjects}/${id}`;
}

/** Returns the schema for receivers. It removes unknown members, so that senders can add optional members later. */
export function receivedData<Data extends z.ZodObject>(definition: EventDefinition<Data>) {
  return definition.data.strip();
}
