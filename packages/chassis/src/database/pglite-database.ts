import type { PGlite } from '@electric-sql/pglite';
import { sql } from 'drizzle-orm';
import type { Database, Queries } from './database.ts';
import { asFailure } from './database-errors.ts';
import { int8, parseInt8 } from './int8.ts';
import { createNestingGuard } from './nesting-guard.ts';

export interface PgliteDatabase extends Database {
  readonly lite: PGlite;
}

/**
 * PostgreSQL compiled to WebAssembly, in this process, on one connection: for demonstration and tests.
 * @param folder where its files are; in memory when undefined
 */
export async function openPglite(folder?: string): Promise<PgliteDatabase> {
  // Loaded only where it is used: images for production do not have it.
  const { PGlite } = await import('@electric-sql/pglite');
  const { drizzle } = await import('drizzle-orm/pglite');
  const lite = await PGlite.create({
    ...(folder !== undefined && { dataDir: folder }),
    startParams: [...PGlite.defaultStartParams, '-c', 'shared_buffers=16MB'],
    parsers: { [int8]: parseInt8 },
  });
  const guard = createNestingGuard();
  const db = drizzle(lite);

  return {
    engine: 'pglite',
    maxStatementMs: Number.POSITIVE_INFINITY,
    lite,
    async read(work) {
      guard.outside();
      try {
        return await work(db as unknown as Queries);
      } catch (error) {
        throw asFailure(error);
      }
    },
    async write(work) {
      guard.outside();
      try {
        return await guard.transaction(() =>
          db.transaction(async (tx) => {
            const result = await work(tx as unknown as Queries);
            // Fails where a statement had failed and `work` kept the error to itself: the commit would roll back.
            await tx.execute(sql`select 1`);
            return result;
          }),
        );
      } catch (error) {
        throw asFailure(error);
      }
    },
    close: () => lite.close(),
  };
}
