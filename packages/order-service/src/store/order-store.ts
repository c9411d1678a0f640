import type { Database, Queries } from '@zerda/chassis/database/database';
import { createKeyedMutex } from '@zerda/chassis/database/keyed-mutex';
import { Failure } from '@zerda/chassis/failure';
import { always } from '@zerda/chassis/idempotency/idempotency';
import { type Precondition, requireMatch } from '@zerda/chassis/precondition';
import type { NewOrder, OrderStatus } from '@zerda/contracts/order-service/orders';
import { appendEvents } from '@zerda/events/outbox';
import { and, asc, eq, gt, sql } from 'drizzle-orm';
import { toCents } from '../domain/money.ts';
import type { Order } from '../domain/order.ts';
import { firstStatus } from '../domain/order-status.ts';
import type { PlacedOrders } from '../domain/place-order.ts';
import { lockKnownUser, readUserState } from './known-users.ts';
import {
  countPlaced,
  countStatusChanges,
  readOrderCountOf,
  readStatusCounts,
  type StatusCount,
} from './order-counters.ts';
import { announceChange, announceOrder } from './order-events.ts';
import { orders } from './tables.ts';

/** Selects the orders of a list. */
export interface OrderSelection {
  /** Only ids greater than this one. */
  readonly after?: number | undefined;
  /** Maximum number of rows. */
  readonly limit: number;
  readonly userId?: number | undefined;
  readonly status?: OrderStatus | undefined;
  /** Only orders of this user, because the caller cannot see others. Applies in addition to `userId`. */
  readonly ownerId?: number | undefined;
}

/** Store of the orders. Each write is one transaction that also writes the event to the outbox. */
export interface OrderStore extends PlacedOrders {
  /** Returns orders in ascending order of id. */
  list(selection: OrderSelection): Promise<Order[]>;
  /**
   * Returns an order.
   * @param ownerId required owner of the order; any owner if undefined
   * @throws Failure `order-not-found`, also for an order of another user
   */
  find(id: number, ownerId?: number): Promise<Order>;
  /** Returns the number of orders and the sum of their totals, by status. */
  countByStatus(): Promise<Record<OrderStatus, StatusCount>>;
  /** Returns the number of a user's orders in any status. */
  countOf(userId: number): Promise<number>;
  /**
   * Sets the status to the result of `next`, which is called with the current status while the order is locked.
   * @param ownerId required owner of the order; any owner if undefined
   * @throws Failure `order-not-found`, also for an order of another user, `precondition-failed`, and errors of `next`
   */
  changeStatus(
    id: number,
    next: (status: OrderStatus) => OrderStatus,
    precondition?: Precondition,
    ownerId?: number,
  ): Promise<Order>;
}

export function createOrderStore(database: Database): OrderStore {
  // Each new order locks the counter of its user, so concurrent orders of one user would only occupy connections.
  const turns = createKeyedMutex();
  return {
    list: (selection) => database.query((db) => selectOrders(db, selection)),
    async find(id, ownerId) {
      const [order] = await database.query((db) => db.select().from(orders).where(isOrder(id, ownerId)));
      return requireOrder(order);
    },
    countByStatus: () => database.query(readStatusCounts),
    countOf: (userId) => database.query((db) => readOrderCountOf(db, userId)),
    findUser: (userId) => database.query((db) => readUserState(db, userId)),
    place: (order, once = always) =>
      turns.run(order.user_id, () =>
        database.transaction((tx) =>
          once(tx, async () => {
            await lockKnownUser(tx, order.user_id);
            return insertOrder(tx, order);
          }),
        ),
      ),
    changeStatus: (id, next, precondition, ownerId) =>
      database.transaction(async (tx) => {
        const [row] = await tx.select().from(orders).where(isOrder(id, ownerId)).for('update');
        const { status, version } = requireOrder(row);
        requireMatch(precondition, version);
        const [changed] = await tx
          .update(orders)
          .set({ status: next(status), version: version + 1, updatedAt: sql`now()` })
          .where(eq(orders.id, id))
          .returning();
        const order = requireOrder(changed);
        await countStatusChanges(tx, [{ order, from: status }]);
        await appendEvents(tx, [announceChange(order, status)]);
        return order;
      }),
  };
}

/** Condition for the order with this id and, if given, this owner. */
function isOrder(id: number, ownerId: number | undefined) {
  return and(eq(orders.id, id), ownerId === undefined ? undefined : eq(orders.userId, ownerId));
}

/** Returns the query of a list. It pages by key, so its cost does not depend on the position in the list. */
export function selectOrders(db: Queries, { after = 0, limit, userId, status, ownerId }: OrderSelection) {
  return db
    .select()
    .from(orders)
    .where(
      and(
        gt(orders.id, after),
        userId === undefined ? undefined : eq(orders.userId, userId),
        ownerId === undefined ? undefined : eq(orders.userId, ownerId),
        status === undefined ? undefined : eq(orders.status, status),
      ),
    )
    .orderBy(asc(orders.id))
    .limit(limit);
}

/** Stores an order in an open transaction. */
export async function insertOrder(
  tx: Queries,
  { user_id, product, quantity, total }: NewOrder,
  status: OrderStatus = firstStatus,
): Promise<Order> {
  const [row] = await tx
    .insert(orders)
    .values({ userId: user_id, product, quantity, totalCents: toCents(total), status })
    .returning();
  const order = requireOrder(row);
  await countPlaced(tx, order);
  await appendEvents(tx, [announceOrder(order)]);
  return order;
}

function requireOrder(order: Order | undefined): Order {
  if (order === undefined) throw new Failure('order-not-found');
  return order;
}
