import { randomUUID } from 'node:crypto';
import type { Database, Queries } from '@zerda/chassis/database/database';
import { deferStatement } from '@zerda/chassis/database/deferred-statements';
import { prepareStatement } from '@zerda/chassis/database/prepared-query';
import { currentContext } from '@zerda/chassis/request-context';
import { inSpan } from '@zerda/chassis/tracing/in-span';
import type { SpanOptions } from '@zerda/chassis/tracing/span';
import { type EventDefinition, subjectOf } from '@zerda/contracts/events/definition';
import { type EventEnvelope, sequenceOf } from '@zerda/contracts/events/envelope';
import { sql } from 'drizzle-orm';
import type { z } from 'zod';

/** The subject, version and data of a new event. */
export interface EventInput<Data extends z.ZodObject = z.ZodObject> {
  /** Id of the entity that changed. */
  readonly id: number;
  /** Version of the entity after the change. Each version has exactly one event. */
  readonly version: number;
  readonly data: z.input<Data>;
}

/** An event for `appendEvents`. */
export interface NewEvent {
  readonly definition: EventDefinition;
  readonly event: EventInput;
}

/** Returns an event for `appendEvents`. The compiler checks its data against the definition. */
export function newEvent<Data extends z.ZodObject>(
  definition: EventDefinition<Data>,
  event: EventInput<Data>,
): NewEvent {
  return { definition, event };
}

/** Transactions that have written events. */
const transactionsWithEvents = new WeakSet<Queries>();

/** Inserts events, whose columns are arrays, so that the text does not depend on their number. */
const insertEvents = prepareStatement(sql`
  insert into outbox (id, type, subject, event)
  select id, type, subject, event::json
  from unnest(${sql.placeholder('ids')}::uuid[], ${sql.placeholder('types')}::text[],
    ${sql.placeholder('subjects')}::text[], ${sql.placeholder('events')}::text[]) as event (id, type, subject, event)`);

/**
 * Writes events to the outbox in the transaction of the change. Call it after you have inserted or locked the row of
 * each subject: the row lock keeps the events of a subject in order. The transaction waits for them at its commit.
 * Data that does not match the schema exactly makes the transaction reject with a ZodError.
 */
export async function appendEvents(tx: Queries, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  const append = async () => {
    const envelopes = events.map(({ definition, event }) => createEnvelope(definition, event));
    await insertEvents(tx, {
      ids: envelopes.map(({ id }) => id),
      types: envelopes.map(({ type }) => type),
      subjects: envelopes.map(({ subject }) => subject),
      events: envelopes.map((envelope) => JSON.stringify(envelope)),
    });
  };
  await deferStatement(
    tx,
    inSpan('append', () => appendSpan(events), append),
  );
  transactionsWithEvents.add(tx);
}

function appendSpan(events: readonly NewEvent[]): SpanOptions {
  const types = [...new Set(events.map(({ definition }) => definition.type))].join(',');
  return {
    name: `append ${types}`,
    attributes: {
      'messaging.system': 'outbox',
      'messaging.operation.name': 'append',
      'messaging.operation.type': 'create',
      'messaging.destination.name': types,
      'messaging.batch.message_count': events.length,
    },
  };
}

function createEnvelope(definition: EventDefinition, { id, version, data }: EventInput): EventEnvelope {
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

/** Returns a database that calls `wake` after each commit of a transaction that wrote events. */
export function wakingAfterCommit(database: Database, wake: () => void): Database {
  return {
    ...database,
    async transaction(work) {
      let usedTx: Queries | undefined;
      const result = await database.transaction((tx) => {
        usedTx = tx;
        return work(tx);
      });
      if (usedTx !== undefined && transactionsWithEvents.has(usedTx)) wake();
      return result;
    },
  };
}
