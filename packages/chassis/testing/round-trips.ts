import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { sql } from 'drizzle-orm';
import { openPostgres, type PostgresDatabase } from '../src/database/postgres-database.ts';
import { silentLogger } from './observed.ts';

/** A database whose round trips are counted. It has one connection. */
export interface CountedDatabase {
  readonly database: PostgresDatabase;
  /** Returns the number of round trips of some work. */
  roundTripsOf(work: () => Promise<unknown>): Promise<number>;
  close(): Promise<void>;
}

/** Opens a database on PostgreSQL through a proxy that counts round trips. @param url URL of the database */
export async function openCountedDatabase(url: string): Promise<CountedDatabase> {
  const counter = await countRoundTrips(url);
  const database = openPostgres({
    url: counter.url,
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
      const before = counter.count;
      await work();
      return counter.count - before;
    },
    async close() {
      await database.close();
      counter.close();
    },
  };
}

/** A TCP proxy in front of a server. It counts how often the client sends after it has received. */
interface RoundTripCounter {
  /** URL of the server through the proxy. */
  readonly url: string;
  /** Round trips of all connections so far. */
  readonly count: number;
  close(): void;
}

/**
 * Milliseconds that the proxy holds the data of the server, longer than a client takes to send what does not depend on it. Otherwise the
 * result of a statement could arrive between two statements of one round trip.
 */
const holdMs = 15;

/** Starts a proxy on a free port of 127.0.0.1. @param url URL of the server */
async function countRoundTrips(url: string): Promise<RoundTripCounter> {
  const proxied = new URL(url);
  const { port, hostname } = proxied;
  const sockets: Socket[] = [];
  let count = 0;
  const proxy = createServer((client) => {
    const server = connect(Number(port), hostname);
    sockets.push(client, server);
    let hasReceived = true;
    client.on('data', (chunk) => {
      if (hasReceived) count += 1;
      hasReceived = false;
      server.write(chunk);
    });
    server.on('data', (chunk) =>
      setTimeout(() => {
        hasReceived = true;
        client.write(chunk);
      }, holdMs),
    );
    for (const socket of [client, server]) socket.on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  proxied.port = String((proxy.address() as AddressInfo).port);
  return {
    url: proxied.href,
    get count() {
      return count;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}
