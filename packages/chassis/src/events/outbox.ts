import { randomUUID } from 'node:crypto';
import { type EventDefinition, subjectOf } from '@zerda/contracts/events/definition';
import { type EventEnvelope, sequenceOf } from '@zerda/contracts/events/envelope';
import { sql } from 'drizzle-orm';
import type { z } from 'zod';
import type { Database, Queries } from '../database/database.ts';
import { currentContext } from '../request-context.ts';

/** What has happened, as the one who did it tells it. */
export interface NewEvent<Data extends z.ZodObject = z.ZodObject> {
  /** Id of what it has happened to. */
  readonly id: number;
  /** Version that it has made of that; each version makes one event. */
  readonly version: number;
  readonly data: z.input<Data>;
}

/** An event that waits to be written. */
export interface Announcement {
  readonly definition: EventDefinition;
  readonly event: NewEvent;
}

/** Names an event for `append`; its data is checked against the definition by the compiler. */
export function announce<Data extends z.ZodObject>(
  definition: EventDefinition<Data>,
  event: NewEvent<Data>,
): Announcement {
  return { definition, event };
}

/** The transactions that have events in them. */
const announcing = new WeakSet<Queries>();

/**
 * Writes events in the transaction of what they tell of. Call it after the row of each subject was locked or inserted: that
 * keeps them in order.
 * @throws ZodError when data is not exactly what the schema has
 */
export async function append(tx: Queries, announcements: readonly Announcement[]): Promise<void> {
  if (announcements.length === 0) return;
  const rows = announcements.map(({ definition, event }) => {
    const envelope = envelopeOf(definition, event);
    return sql`(${envelope.id}, ${envelope.type}, ${envelope.subject}, ${JSON.stringify(envelope)}::json)`;
  });
  await tx.execute(sql`insert into outbox (id, type, subject, event) values ${sql.join(rows, sql`, `)}`);
  announcing.add(tx);
}

function envelopeOf(definition: EventDefinition, { id, version, data }: NewEvent): EventEnvelope {
  const context = currentContext();
  return {
    specversion: '1.0',
    id: randomUUID(),
    source: definition.source,
    type: definition.type,
    subject: subjectOf(definition, id),
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    sequence: sequenceOf(version),
    ...(context && { correlationid: context.correlationId }),
    ...(context?.traceparent && { traceparent: context.traceparent }),
    data: definition.data.parse(data),
  };
}

/** The same database; `wake` is called after each commit of a transaction that has written events. */
export function wakingAfterCommit(database: Database, wake: () => void): Database {
  return {
    ...database,
    async write(work) {
      let used: Queries | undefined;
      const result = await database.write((tx) => {
        used = tx;
        return work(tx);
      });
      if (used !== undefined && announcing.has(used)) wake();
      return result;
    },
  };
}
