import assert from 'node:assert/strict';
import { before, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { describeOnEachEngine } from '@zerda/chassis/testing/database';
import { explain } from '@zerda/chassis/testing/query-plans';
import { sql } from 'drizzle-orm';
import { migrations } from '../../testing/app.ts';
import { type OrderSelection, selectOrders } from './order-store.ts';

/** Many more rows than a page, so that a plan that does not fit reads far too many. */
const many = 200_000;
const big = 7;

describeOnEachEngine('queries for orders among many', { migrations, engines: ['postgres'] }, (open) => {
  let database: Database;

  before(async () => {
    database = await open();
    // Most orders are completed and the pending ones are the newest. One user has every tenth order, and only a few late
    // canceled ones. Each is the worst case for a plan that reads rows until enough match.
    await database.transaction((tx) =>
      tx.execute(sql`insert into orders (user_id, product, quantity, total_cents, status)
        select case when n % 10 = 0 then ${big}::int else 100 + n % 50000 end, 'Product ' || n, 1, 1 + n % 100000,
          case when n > ${many}::int - 2000 then 'pending' when n % 50 = 1 or (n % 100 = 0 and n > ${many}::int - 5000) then 'cancelled' else 'completed' end
        from generate_series(1, ${many}::int) as n`),
    );
    await database.query((db) => db.execute(sql`analyze orders`));
  });

  const selections: Record<string, OrderSelection> = {
    'all orders': { limit: 101 },
    'all orders, at the end of the list': { after: many - 500, limit: 101 },
    'orders in a frequent status': { limit: 101, status: 'completed' },
    'orders in a rare status': { limit: 101, status: 'pending' },
    'the orders of a user': { limit: 101, userId: 123 },
    'the orders of a user with a tenth of all': { limit: 101, userId: big },
    'the orders of that user, at the end of the list': { limit: 101, userId: big, after: many - 5000 },
    'the few pending orders of that user': { limit: 101, userId: big, status: 'pending' },
    'the few canceled orders of that user': { limit: 101, userId: big, status: 'cancelled' },
    'the orders of a user without orders': { limit: 101, userId: 1 },
  };

  for (const [title, selection] of Object.entries(selections)) {
    it(`a page of ${title} uses an index and reads few extra rows`, async () => {
      const { steps, discarded } = await explain(database, (db) => selectOrders(db, selection));
      assert.ok(!steps.includes('Seq Scan'), steps.join(', '));
      assert.ok(discarded <= 1000, `${discarded} extra rows read`);
    });
  }
});
