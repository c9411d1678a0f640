import type { KeyStore } from '@zerda/chassis/auth/open-verifier';
import type { Database } from '@zerda/chassis/database/database';
import { eq, getTableColumns, sql } from 'drizzle-orm';
import { verificationKeys } from './tables.ts';

/** Creates a store for the public keys of access tokens in the database, so that a restarted process can use them. */
export function createVerificationKeys(database: Database): KeyStore {
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
