import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { explain } from '@zerda/chassis/testing/query-plans';
import { sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import { selectUsers, type UserSelection } from './user-store.ts';

/** Many more rows than a page, so that a plan that does not fit reads far too many. */
const many = 200_000;

describeOnEachEngine('queries for users among many', { migrations, engines: ['postgres'] }, (open) => {
  let database: Database;

  before(async () => {
    database = await open();
    // One user in a thousand is an admin, all with high ids: the worst case for reading in the order of ids.
    await database.transaction((tx) =>
      tx.execute(sql`insert into users (name, email, role)
        select 'User ' || n, 'user' || n || '@example.com', case when n > ${many}::int - 1000 then 'admin' else 'user' end
        from generate_series(1, ${many}::int) as n`),
    );
    await database.query((db) => db.execute(sql`analyze users`));
  });

  const selections: Record<string, UserSelection> = {
    'all users': { limit: 101 },
    'all users, at the end of the list': { after: many - 500, limit: 101 },
    'users of a frequent role': { limit: 101, role: 'user' },
    'users of a frequent role, at the end of the list': { after: many - 1500, limit: 101, role: 'user' },
    'users of a rare role': { limit: 101, role: 'admin' },
  };

  for (const [title, selection] of Object.entries(selections)) {
    it(`a page of ${title} uses an index and reads few extra rows`, async () => {
      const { steps, discarded } = await explain(database, (db) => selectUsers(db, selection));
      assert.ok(!steps.includes('Seq Scan') && !steps.includes('Sort'), steps.join(', '));
      assert.ok(discarded <= 1000, `${discarded} extra rows read`);
    });
  }
});
