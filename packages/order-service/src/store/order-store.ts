import type { Database, Queries } from '@zerda/chassis/database/database';
import { createInTurn } from '@zerda/chassis/database/in-turn';
import { append } from '@zerda/chassis/events/outbox';
import { Failure } from '@zerda/chassis/failure';
import { type Precondition, requireMatch } from '@zerda/chassis/http/entity-tag';
import {
  type Answered,
  findKept,
  type KeptAnswer,
  type KeyedRequest,
  once,
} from '@zerda/chassis/idempotency/idempotency';
import type { NewOrder, OrderStatus } from '@zerda/contracts/orders';
import { and, asc, eq, gt, sql } from 'drizzle-orm';
import { toCents } from '../domain/money.ts';
import { firstStatus } from '../domain/order-status.ts';
import { holdUser, readUserState, type UserState } from './known-users.ts';
import {
  countMoved,
  countPlaced,
  readOrderCountOf,
  readStatusCounts,
  type StatusCount,
} from './order-counters.ts';
import { announceChange, announceOrder } from './order-events.ts';
import { orders, type StoredOrder } from './tables.ts';

/** Which orders a list has. */
export interface OrderSelection {
  /** Only ids above this one. */
  readonly after?: number | undefined;
  /** Rows at most. */
  readonly limit: number;
  readonly userId?: number | undefined;
  readonly status?: OrderStatus | undefined;
  /** Only orders of the user with this id: for a caller who may see no others. */
  readonly only?: number | undefined;
}

/** The orders, each write in a transaction of its own, with the event that tells of it. */
export interface OrderStore {
  /** Orders in the order of their ids. */
  list(selection: OrderSelection): Promise<StoredOrder[]>;
  /**
   * @param only the user whose order it must be; anybody's when undefined
   * @throws Failure `order-not-found`, also for the order of another user
   */
  find(id: number, only?: number): Promise<StoredOrder>;
  /** Orders by status. */
  countByStatus(): Promise<Record<OrderStatus, StatusCount>>;
  /** The number of a user's orders, whatever their status. */
  countOf(userId: number): Promise<number>;
  /** What an earlier request with this key was answered; undefined when there was none. @throws as `findKept` */
  findPlaced<Body>(request: KeyedRequest | undefined): Promise<Answered<Body> | undefined>;
  /** What events have told of a user; undefined when they have told nothing. */
  findUser(userId: number): Promise<UserState | undefined>;
  /**
   * Stores an order, and with it what a repeat of the request is answered with. The caller has made sure that the user exists.
   * @throws Failure `unknown-user` when events have told that they are gone, and as `once`
   */
  place<Body>(
    order: NewOrder,
    request: KeyedRequest | undefined,
    answer: (order: StoredOrder) => KeptAnswer<Body>,
  ): Promise<Answered<Body>>;
  /**
   * Gives an order the status that `next` makes of the one it has; nobody else changes it meanwhile.
   * @param only the user whose order it must be; anybody's when undefined
   * @throws Failure `order-not-found`, also for the order of another user, `precondition-failed`, and what `next` throws
   */
  changeStatus(
    id: number,
    next: (status: OrderStatus) => OrderStatus,
    precondition?: Precondition,
    only?: number,
  ): Promise<StoredOrder>;
}

export function createOrderStore(database: Database): OrderStore {
  // Each new order locks the counter of its user.
  const turns = createInTurn();
  return {
    list: (selection) => database.read((db) => selectOrders(db, selection)),
    async find(id, only) {
      const [order] = await database.read((db) => db.select().from(orders).where(isOrder(id, only)));
      return found(order);
    },
    countByStatus: () => database.read(readStatusCounts),
    countOf: (userId) => database.read((db) => readOrderCountOf(db, userId)),
    findPlaced: (request) => findKept(database, request),
    findUser: (userId) => database.read((db) => readUserState(db, userId)),
    place: (order, request, answer) =>
      turns.run(order.user_id, () =>
        once(database, request, async (tx) => {
          await holdUser(tx, order.user_id);
          return answer(await insertOrder(tx, order));
        }),
      ),
    changeStatus: (id, next, precondition, only) =>
      database.write(async (tx) => {
        const [row] = await tx.select().from(orders).where(isOrder(id, only)).for('update');
        const { status, version } = found(row);
        requireMatch(precondition, version);
        const [changed] = await tx
          .update(orders)
          .set({ status: next(status), version: version + 1, updatedAt: sql`now()` })
          .where(eq(orders.id, id))
          .returning();
        const order = found(changed);
        await countMoved(tx, [{ order, from: status }]);
        await append(tx, [announceChange(order, status)]);
        return order;
      }),
  };
}

/** The order of that id, if it is that user's. */
function isOrder(id: number, only: number | undefined) {
  return and(eq(orders.id, id), only === undefined ? undefined : eq(orders.userId, only));
}

/** The query of a list: by key, so that its cost does not depend on how far into the list it is. */
export function selectOrders(db: Queries, { after = 0, limit, userId, status, only }: OrderSelection) {
  return db
    .select()
    .from(orders)
    .where(
      and(
        gt(orders.id, after),
        userId === undefined ? undefined : eq(orders.userId, userId),
        only === undefined ? undefined : eq(orders.userId, only),
        status === undefined ? undefined : eq(orders.status, status),
      ),
    )
    .orderBy(asc(orders.id))
    .limit(limit);
}

/** Stores an order in a transaction that is open already. */
export async function insertOrder(
  tx: Queries,
  { user_id, product, quantity, total }: NewOrder,
  status: OrderStatus = firstStatus,
): Promise<StoredOrder> {
  const [row] = await tx
    .insert(orders)
    .values({ userId: user_id, product, quantity, totalCents: toCents(total), status })
    .returning();
  const order = found(row);
  await countPlaced(tx, order);
  await append(tx, [announceOrder(order)]);
  return order;
}

function found(order: StoredOrder | undefined): StoredOrder {
  if (order === undefined) throw new Failure('order-not-found');
  return order;
}
