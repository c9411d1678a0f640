import { defineEvent } from '@zerda/contracts/events/definition';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database, Queries } from '../database/database.ts';
import { rowsOf } from '../database/rows-of.ts';
import { announce, append } from './outbox.ts';
import { on } from './receiver.ts';

/** The tables of both sides, as the migrations of services make them. */
export const eventTables = new URL('./tables/', import.meta.url);

/** An event for tests of what knows no business word. */
export const thingMade = defineEvent({
  type: 'zerda.thing.made.v1',
  source: '/things',
  subjects: 'things',
  summary: 'A thing was made, or made anew',
  data: z.strictObject({ id: z.int(), text: z.string() }),
});

/** Makes the tables of things: of those who make them, and of those who hear of it. */
export async function createThings(database: Database): Promise<void> {
  await database.write(async (tx) => {
    await tx.execute(sql`create table if not exists things (id int primary key, version int not null)`);
    await tx.execute(sql`create table if not exists heard (position bigint generated always as identity,
      id int not null, version int not null, text text not null)`);
  });
}

/** Makes the next version of a thing, and tells of it; as a service does, in one transaction. */
export async function makeThing(database: Database, id: number, text = 'a thing'): Promise<number> {
  return database.write((tx) => makeThingIn(tx, id, text));
}

export async function makeThingIn(tx: Queries, id: number, text = 'a thing'): Promise<number> {
  const [row] = await rowsOf<{ version: number }>(
    tx,
    sql`insert into things as t (id, version) values (${id}, 1)
      on conflict (id) do update set version = t.version + 1 returning version`,
  );
  const version = row?.version ?? 0;
  await append(tx, [announce(thingMade, { id, version, data: { id, text } })]);
  return version;
}

/** Writes down what it hears, in the transaction of the inbox. */
export const hearing = on(thingMade, async (tx, { data, sequence }) => {
  await tx.execute(
    sql`insert into heard (id, version, text) values (${data.id}, ${Number(sequence)}, ${data.text})`,
  );
  return undefined;
});

/** What was heard, in that order. */
export async function heard(database: Database): Promise<{ id: number; version: number; text: string }[]> {
  return rowsIn(database, sql`select id, version, text from heard order by position`);
}

/** The rows of a query outside of a transaction. */
export async function rowsIn<Row>(database: Database, query: ReturnType<typeof sql>): Promise<Row[]> {
  return database.read((db) => rowsOf<Row>(db, query));
}
