import type { z } from 'zod';
import type { eventPrefix } from './envelope.ts';

/** One kind of event that a service sends: what senders, receivers and documents are made from. */
export interface EventDefinition<Data extends z.ZodObject = z.ZodObject> {
  /** Name, with the version of the schema: a change that a receiver would notice is a new version. */
  readonly type: `${typeof eventPrefix}.${string}.v${number}`;
  /** `source` of the event: the service. */
  readonly source: `/${string}`;
  /** Kind of thing it happens to, the first half of `subject`. */
  readonly subjects: string;
  readonly summary: string;
  readonly description?: string;
  /** Exactly what is sent: strict, flat, and no member is made from another. */
  readonly data: Data;
}

/** Data of an event as its receiver gets it. */
export type DataOf<Definition extends EventDefinition> = z.output<Definition['data']>;

/** Keeps the definition's exact type, so that data is checked against it. */
export function defineEvent<Data extends z.ZodObject>(
  definition: EventDefinition<Data>,
): EventDefinition<Data> {
  return definition;
}

/** `subject` of an event about the thing with this id. */
export function subjectOf({ subjects }: Pick<EventDefinition, 'subjects'>, id: number): string {
  return `${subjects}/${id}`;
}

/** The schema that a receiver reads data with: members it does not know are dropped, so that later ones do no harm. */
export function receivedData<Data extends z.ZodObject>(definition: EventDefinition<Data>) {
  return definition.data.strip();
}
