import assert from 'node:assert/strict';
import { it } from 'node:test';
import { PGlite } from '@electric-sql/pglite';
import { openPglite } from './pglite-database.ts';

/** Queries of everything that the archive of a new cluster and `initdb` could make differently. */
const catalogQueries = [
  'select oid::text, proname, prosrc from pg_proc order by oid',
  'select oid::text, typname from pg_type order by oid',
  'select oid::text, relname from pg_class where oid < 16384 order by oid',
  `select name, setting from pg_settings where name in
    ('server_version', 'server_encoding', 'TimeZone', 'lc_messages', 'default_text_search_config', 'data_checksums') order by name`,
  'select datname, encoding, datcollate, datctype, datlocprovider from pg_database order by datname',
  'select extname, extversion from pg_extension order by extname',
];

it('opens a new cluster that is equal to one created by initdb', async () => {
  const [unpacked, initialized] = await Promise.all([openPglite(), PGlite.create()]);
  try {
    for (const query of catalogQueries) {
      const [actual, expected] = await Promise.all([unpacked.lite.query(query), initialized.query(query)]);
      assert.ok(expected.rows.length > 0);
      assert.deepEqual(actual.rows, expected.rows);
    }
  } finally {
    await Promise.all([unpacked.close(), initialized.close()]);
  }
});
