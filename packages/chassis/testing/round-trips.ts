import { sql } from 'drizzle-orm';
import { openPostgres, type PostgresDatabase } from '../src/database/postgres-database.ts';
import { silentLogger } from './observed.ts';
import { startTcpProxy } from './relay.ts';

/** A database whose round trips are counted. It has one connection. */
export interface CountedDatabase {
  readonly database: PostgresDatabase;
  /** Returns the number of round trips of some work. */
  roundTripsOf(work: () => Promise<unknown>): Promise<number>;
  close(): Promise<void>;
}

/**
 * Milliseconds that the proxy holds the data of the server, longer than a client takes to send what does not depend on it. Otherwise the
 * result of a statement could arrive between two statements of one round trip.
 */
const holdMs = 15;

/**
 * Opens a database on PostgreSQL through a proxy. A round trip begins when the client sends after it has received.
 * @param url URL of the database
 */
export async function openCountedDatabase(url: string): Promise<CountedDatabase> {
  let roundTrips = 0;
  const proxy = await startTcpProxy(url, (client, server) => {
    let hasReceived = true;
    client.on('data', (chunk) => {
      if (hasReceived) roundTrips += 1;
      hasReceived = false;
      server.write(chunk);
    });
    server.on('data', (chunk) =>
      setTimeout(() => {
        hasReceived = true;
        client.write(chunk);
      }, holdMs),
    );
  });
  const database = openPostgres({
    url: proxy.url,
    statementTimeoutMs: 5000,
    poolSize: 1,
    connectTimeoutMs: 5000,
    preparedStatements: true,
    logger: silentLogger(),
  });
  // The connection is opened by its first use.
  await database.query((db) => db.execute(sql`select 1`));
  return {
    database,
    async roundTripsOf(work) {
      const before = roundTrips;
      await work();
      return roundTrips - before;
    },
    async close() {
      await database.close();
      proxy.close();
    },
  };
}
