import type { KeyStore } from '@zerda/chassis/auth/open-verifier';
import type { Database } from '@zerda/chassis/database/database';
import { eq, getTableColumns, sql } from 'drizzle-orm';
import { verificationKeys } from './tables.ts';

/** Keeps the public keys of access tokens in the database of this service, so that they outlive its processes. */
export function createVerificationKeys(database: Database): KeyStore {
  return {
    async save(source, { keys, ageMs = 0 }) {
      const loadedAt = sql`now() - make_interval(secs => ${ageMs / 1000})`;
      await database.write((tx) =>
        tx
          .insert(verificationKeys)
          .values({ source, keys, loadedAt })
          .onConflictDoUpdate({
            target: verificationKeys.source,
            set: { keys: sql`excluded.keys`, loadedAt: sql`excluded.loaded_at` },
            // A replica with an older copy must not bring a withdrawn key back.
            setWhere: sql`${verificationKeys.loadedAt} < excluded.loaded_at`,
          }),
      );
    },
    async load(source) {
      const age = sql<number>`extract(epoch from now() - ${verificationKeys.loadedAt})::float8`;
      const [found] = await database.read((db) =>
        db
          .select({ ...getTableColumns(verificationKeys), age })
          .from(verificationKeys)
          .where(eq(verificationKeys.source, source)),
      );
      if (found === undefined) throw new Error('no keys of access tokens are stored');
      return { keys: found.keys, ageMs: Math.max(0, found.age * 1000) };
    },
  };
}
