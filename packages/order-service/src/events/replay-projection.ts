import type { Database } from '@zerda/chassis/database/database';
import { StartupError } from '@zerda/chassis/startup-error';
import { largestId } from '@zerda/contracts/protocol/values';
import { and, gt, inArray, lte, notInArray } from 'drizzle-orm';
import { cancellable } from '../domain/order-status.ts';
import { rememberUsers } from '../store/known-users.ts';
import { knownUsers, orders } from '../store/tables.ts';
import { cancelForDeletedUser } from './user-subscriptions.ts';

/** Whom user-service has. */
export interface UserList {
  /** Some of the ids after this one, in their order; none when there are no more. */
  idsAfter(after: number): Promise<readonly number[]>;
  exists(id: number): Promise<boolean>;
}

export interface ReplayOptions {
  readonly database: Database;
  readonly users: UserList;
}

/** What a replay has done. */
export interface ReplayResult {
  /** Users that user-service has. */
  readonly known: number;
  /** Users who were gone without order-service having heard of it; their open orders are cancelled now. */
  readonly forgotten: number;
}

/**
 * Makes the projection of users as user-service has them, page by page, while both go on working: what a page has becomes known
 * unless it was deleted meanwhile, and about everybody else between two pages user-service is asked one by one, for somebody who was
 * created later can have an id that was passed already. Can be cut short and run again.
 * @throws StartupError when user-service does not answer
 */
export async function replayProjection({ database, users }: ReplayOptions): Promise<ReplayResult> {
  let known = 0;
  let forgotten = 0;
  for (let after = 0; after < largestId; ) {
    const from = after;
    const ids = await asked(() => users.idsAfter(from));
    await database.write((tx) => rememberUsers(tx, ids));
    const last = ids.at(-1) ?? largestId;
    for (const id of await findOthers(database, { after, last, ids })) {
      if (await asked(() => users.exists(id))) continue;
      while ((await database.write((tx) => cancelForDeletedUser(tx, id))) === 'more');
      forgotten += 1;
    }
    known += ids.length;
    after = last;
  }
  return { known, forgotten };
}

async function asked<T>(question: () => Promise<T>): Promise<T> {
  try {
    return await question();
  } catch (error) {
    throw new StartupError(
      `user-service does not answer (${(error as Error).message}); what was done stays, run it again`,
      1,
      { cause: error },
    );
  }
}

/** Users in a range of ids who are known or have open orders, and are not on the page of that range. */
async function findOthers(
  database: Database,
  { after, last, ids }: { readonly after: number; readonly last: number; readonly ids: readonly number[] },
): Promise<number[]> {
  const range = (column: typeof knownUsers.userId | typeof orders.userId) =>
    and(gt(column, after), lte(column, last), ids.length > 0 ? notInArray(column, [...ids]) : undefined);
  const found = await database.read(async (db) => [
    ...(await db.select().from(knownUsers).where(range(knownUsers.userId))),
    ...(await db
      .selectDistinct({ userId: orders.userId })
      .from(orders)
      .where(and(range(orders.userId), inArray(orders.status, [...cancellable])))),
  ]);
  const gone = new Set(found.flatMap((user) => ('deleted' in user && user.deleted ? [user.userId] : [])));
  return [...new Set(found.map(({ userId }) => userId))].filter((id) => !gone.has(id));
}
