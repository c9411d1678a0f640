import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { PGlite, QueryOptions, Transaction } from '@electric-sql/pglite';
import { sql } from 'drizzle-orm';
import { openClusterInMemory, writeClusterFiles } from './cluster-files.ts';
import type { Database, Queries } from './database.ts';
import { rootErrorOf, settleDeferred, startDeferring } from './deferred-statements.ts';
import { guardQueries } from './guard-queries.ts';
import { int8, parseInt8 } from './int8.ts';
import { tracedPglite } from './traced-statements.ts';
import { inTransactionSpan } from './transaction-span.ts';

export interface PgliteDatabase extends Database {
  readonly lite: PGlite;
}

/**
 * Opens PGlite, which is PostgreSQL compiled to WebAssembly in this process with one connection. For demos and tests.
 * @param folder folder of its files; in memory if undefined
 * @param createCluster returns the files of a new database as a tar archive; those of an empty one by default
 */
export async function openPglite(
  folder?: string,
  createCluster: () => Promise<Uint8Array> = initialCluster,
): Promise<PgliteDatabase> {
  // Loaded on demand, because production images do not contain it.
  const { PGlite } = await import('@electric-sql/pglite');
  const { drizzle } = await import('drizzle-orm/pglite');
  if (folder !== undefined && !(await hasCluster(folder))) writeClusterFiles(await createCluster(), folder);
  const lite = await PGlite.create({
    ...(folder === undefined
      ? { fs: await openClusterInMemory(await createCluster()) }
      : { dataDir: folder }),
    startParams: [...PGlite.defaultStartParams, '-c', 'shared_buffers=16MB', '-c', 'TimeZone=UTC'],
    parsers: { [int8]: parseInt8 },
  });
  for (const type of unparsedTypes) lite.parsers[type] = (text: string) => text;
  const shared = new SharedParsers(lite) as unknown as PGlite;
  const plain = drizzle(shared);
  const queries = () => {
    const client = tracedPglite(shared);
    return client === shared ? plain : drizzle(client);
  };

  return {
    engine: 'pglite',
    maxStatementMs: Number.POSITIVE_INFINITY,
    lite,
    ...guardQueries({
      query: (work) => work(queries() as unknown as Queries),
      transaction: (work) =>
        inTransactionSpan(() =>
          queries().transaction(async (transaction) => {
            const tx = transaction as unknown as Queries;
            startDeferring(tx);
            const result = await work(tx).catch(async (error: unknown) => {
              throw await rootErrorOf(tx, error);
            });
            await settleDeferred(tx);
            // Fails if an earlier statement failed and `work` caught the error: the commit would silently roll back.
            await tx.execute(sql`select 1`);
            return result;
          }),
        ),
    }),
    close: () => lite.close(),
  };
}

/** Types that drizzle parses itself: timestamp, timestamptz, interval, date, and arrays of these and of numeric. */
const unparsedTypes = [1114, 1184, 1186, 1082, 1115, 1185, 1187, 1182, 1231];

/**
 * The part of PGlite that drizzle uses, with the parsers of PGlite. drizzle passes its own with each query, and PGlite then copies its
 * hundreds of parsers, which takes as long as a simple query.
 */
class SharedParsers {
  readonly #lite: PGlite | Transaction;

  constructor(lite: PGlite | Transaction) {
    this.#lite = lite;
  }

  query(text: string, values?: unknown[], { rowMode = 'object' }: QueryOptions = {}): Promise<unknown> {
    return this.#lite.query(text, values, { rowMode });
  }

  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const shared = (tx: Transaction) => work(new SharedParsers(tx) as unknown as Transaction);
    return (this.#lite as PGlite).transaction(shared);
  }
}

async function hasCluster(folder: string): Promise<boolean> {
  return stat(join(folder, 'PG_VERSION')).then(
    () => true,
    () => false,
  );
}

/** Returns a new database cluster as an archive. Unpacking it takes a tenth of the CPU time of `initdb`. */
async function initialCluster(): Promise<Uint8Array> {
  const { dataDir } = await import('@electric-sql/pglite-prepopulatedfs');
  return gunzipSync(await (await dataDir()).arrayBuffer());
}
