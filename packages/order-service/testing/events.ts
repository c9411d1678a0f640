import { randomUUID } from 'node:crypto';
import type { Database } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { type EventDefinition, subjectOf } from '@zerda/contracts/events/definition';
import { type EventEnvelope, eventEnvelope, sequenceOf } from '@zerda/contracts/events/envelope';
import { userEvents } from '@zerda/contracts/user-service/events';
import { sql } from 'drizzle-orm';

const at = '2026-01-01T00:00:00.000Z';

/** User events in JSON, as user-service sends them. */
export const userEventTexts = {
  created: (id: number, version = 1) =>
    textOf(userEvents.userCreated, id, version, { id, role: 'user', created_at: at, updated_at: at }),
  updated: (id: number, version: number) =>
    textOf(userEvents.userUpdated, id, version, { id, role: 'user', created_at: at, updated_at: at }),
  deleted: (id: number, version = 2) => textOf(userEvents.userDeleted, id, version, { id, deleted_at: at }),
};

function textOf(definition: EventDefinition, id: number, version: number, data: unknown): string {
  return JSON.stringify({
    specversion: '1.0',
    id: randomUUID(),
    source: definition.source,
    type: definition.type,
    subject: subjectOf(definition, id),
    time: at,
    datacontenttype: 'application/json',
    sequence: sequenceOf(version),
    data: definition.data.parse(data),
  });
}

/** Returns the events in the outbox, in order of position. */
export async function eventsIn(database: Database): Promise<EventEnvelope[]> {
  const rows = await database.query((db) =>
    rowsOf<{ event: unknown }>(db, sql`select event from outbox order by position`),
  );
  return rows.map(({ event }) => eventEnvelope.parse(event));
}
