import type { Database, Queries } from '@zerda/chassis/database/database';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { defineEvent } from '@zerda/contracts/events/definition';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { appendEvents, newEvent } from '../src/outbox.ts';
import { onEvent } from '../src/receiver.ts';

/** The outbox and inbox tables, as created by the migrations of services. */
export const eventTables = new URL('../src/tables/', import.meta.url);

/** An event type for tests, independent of business events. */
export const thingMade = defineEvent({
  type: 'zerda.thing.made.v1',
  source: '/things',
  subjects: 'things',
  summary: 'A thing was created or updated',
  data: z.strictObject({ id: z.int(), text: z.string() }),
});

/** Creates the tables of the sending and of the receiving side. */
export async function createThingTables(database: Database): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.execute(sql`create table if not exists things (id int primary key, version int not null)`);
    await tx.execute(sql`create table if not exists received_things (position bigint generated always as identity,
      id int not null, version int not null, text text not null)`);
  });
}

/** Creates or updates a thing and writes its event, in one transaction like a service. */
export async function makeThing(database: Database, id: number, text = 'a thing'): Promise<number> {
  return database.transaction((tx) => makeThingIn(tx, id, text));
}

export async function makeThingIn(tx: Queries, id: number, text = 'a thing'): Promise<number> {
  const [row] = await rowsOf<{ version: number }>(
    tx,
    sql`insert into things as t (id, version) values (${id}, 1)
      on conflict (id) do update set version = t.version + 1 returning version`,
  );
  const version = row?.version ?? 0;
  await appendEvents(tx, [newEvent(thingMade, { id, version, data: { id, text } })]);
  return version;
}

/** Subscription that stores received events in the transaction of the inbox. */
export const recordThing = onEvent(thingMade, async (tx, { data, sequence }) => {
  await tx.execute(
    sql`insert into received_things (id, version, text) values (${data.id}, ${Number(sequence)}, ${data.text})`,
  );
  return undefined;
});

/** Returns the stored events in the order of their processing. */
export async function receivedThings(
  database: Database,
): Promise<{ id: number; version: number; text: string }[]> {
  return rowsIn(database, sql`select id, version, text from received_things order by position`);
}

/** Returns the rows of a query outside of a transaction. */
export async function rowsIn<Row>(database: Database, query: ReturnType<typeof sql>): Promise<Row[]> {
  return database.query((db) => rowsOf<Row>(db, query));
}
