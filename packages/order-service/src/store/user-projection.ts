import type { Database } from '@zerda/chassis/database/database';
import { and, gt, inArray, lte, notInArray } from 'drizzle-orm';
import { cancellable } from '../domain/order-status.ts';
import type { UserProjection } from '../domain/replay-projection.ts';
import { cancelForDeletedUser } from './cancel-orders.ts';
import { addKnownUsers } from './known-users.ts';
import { knownUsers, orders } from './tables.ts';

/** Creates the projection of users in the database. */
export function createUserProjection(database: Database): UserProjection {
  return {
    add: (ids) => database.transaction((tx) => addKnownUsers(tx, ids)),
    async markDeleted(id) {
      while ((await database.transaction((tx) => cancelForDeletedUser(tx, id))) === 'more');
    },
    async findUnlisted({ after, last, ids }) {
      const range = (column: typeof knownUsers.userId | typeof orders.userId) =>
        and(gt(column, after), lte(column, last), ids.length > 0 ? notInArray(column, [...ids]) : undefined);
      const usersInRange = await database.query(async (db) => [
        ...(await db.select().from(knownUsers).where(range(knownUsers.userId))),
        ...(await db
          .selectDistinct({ userId: orders.userId })
          .from(orders)
          .where(and(range(orders.userId), inArray(orders.status, [...cancellable])))),
      ]);
      const deletedIds = new Set(
        usersInRange.flatMap((user) => ('deleted' in user && user.deleted ? [user.userId] : [])),
      );
      return [...new Set(usersInRange.map(({ userId }) => userId))].filter((id) => !deletedIds.has(id));
    },
  };
}
