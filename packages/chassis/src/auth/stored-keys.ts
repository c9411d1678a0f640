import { eq, getTableColumns, sql } from 'drizzle-orm';
import { jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import type { Database } from '../database/database.ts';
import type { KeyCopy } from './key-set.ts';
import type { KeyStore } from './open-verifier.ts';

/** Defined in the migrations of each service that stores keys. */
const verificationKeys = pgTable('verification_keys', {
  /** URL of the key set. */
  source: text().primaryKey(),
  keys: jsonb().$type<KeyCopy['keys']>().notNull(),
  /** Time at which the keys were fetched from the issuer. */
  loadedAt: timestamp('loaded_at', { withTimezone: true }).notNull(),
});

/** Creates a store for the public keys of access tokens in the database, so that a restarted process can use them. */
export function createStoredKeys(database: Database): KeyStore {
  return {
    async save(source, { keys, ageMs = 0 }) {
      const loadedAt = sql`now() - make_interval(secs => ${ageMs / 1000})`;
      await database.transaction((tx) =>
        tx
          .insert(verificationKeys)
          .values({ source, keys, loadedAt })
          .onConflictDoUpdate({
            target: verificationKeys.source,
            set: { keys: sql`excluded.keys`, loadedAt: sql`excluded.loaded_at` },
            // A replica with an older copy must not restore a withdrawn key.
            setWhere: sql`${verificationKeys.loadedAt} < excluded.loaded_at`,
          }),
      );
    },
    async load(source) {
      const age = sql<number>`extract(epoch from now() - ${verificationKeys.loadedAt})::float8`;
      const [found] = await database.query((db) =>
        db
          .select({ ...getTableColumns(verificationKeys), age })
          .from(verificationKeys)
          .where(eq(verificationKeys.source, source)),
      );
      if (found === undefined) throw new Error(`no keys are stored for ${source}`);
      return { keys: found.keys, ageMs: Math.max(0, found.age * 1000) };
    },
  };
}
