import type { Database, Queries } from '@zerda/chassis/database/database';
import { deferStatement } from '@zerda/chassis/database/deferred-statements';
import { createKeyedMutex } from '@zerda/chassis/database/keyed-mutex';
import { prepareQuery, prepareStatement } from '@zerda/chassis/database/prepared-query';
import { Rollback } from '@zerda/chassis/database/rollback';
import { Failure } from '@zerda/chassis/failure';
import { always } from '@zerda/chassis/idempotency/idempotency';
import { type Precondition, requireMatch } from '@zerda/chassis/precondition';
import type { NewOrder, OrderStatus } from '@zerda/contracts/order-service/orders';
import { appendEvents } from '@zerda/events/outbox';
import { and, asc, eq, getTableColumns, gt, type SQL, sql } from 'drizzle-orm';
import { toCents } from '../domain/money.ts';
import type { Order } from '../domain/order.ts';
import { firstStatus } from '../domain/order-status.ts';
import type { PlacedOrders } from '../domain/place-order.ts';
import { unknownUser } from '../domain/unknown-user.ts';
import { addKnownUsers, readUserState } from './known-users.ts';
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
  function transactionOf(order: NewOrder, work: (tx: Queries) => Promise<Order>): Promise<Order> {
    return turns.run(order.user_id, () => database.transaction(work));
  }

  return {
    list: (selection) => database.query((db) => selectOrders(db, selection)),
    async find(id, ownerId) {
      const [order] = await database.query((db) => selectOrder(db, { id, ownerId }));
      return requireOrder(order);
    },
    countByStatus: () => database.query(readStatusCounts),
    countOf: (userId) => database.query((db) => readOrderCountOf(db, userId)),
    async place(order, once = always) {
      try {
        return await transactionOf(order, (tx) => once(tx, () => placeForKnownUser(tx, order)));
      } catch (error) {
        if (error instanceof UserNotInProjection) return undefined;
        throw error;
      }
    },
    placeForNewUser: (order, once = always) =>
      transactionOf(order, (tx) =>
        once(tx, async () => {
          await addKnownUsers(tx, [order.user_id]);
          return placeForKnownUser(tx, order);
        }),
      ),
    changeStatus: (id, next, precondition, ownerId) =>
      database.transaction(async (tx) => {
        const [row] = await lockOrder(tx, { id, ownerId });
        const { now, ...order } = requireOrder(row);
        requireMatch(precondition, order.version);
        const changed: Order = {
          ...order,
          status: next(order.status),
          version: order.version + 1,
          updatedAt: now,
        };
        await deferStatement(tx, updateStatus(tx, { id, status: changed.status, version: changed.version }));
        await countStatusChanges(tx, [{ order: changed, from: order.status }]);
        await appendEvents(tx, [announceChange(changed, order.status)]);
        return changed;
      }),
  };
}

/** Rolls the transaction of an order back whose user is not in the projection. */
class UserNotInProjection extends Rollback {}

/** Condition for the order with the id `id` and, unless it is undefined, the owner `ownerId`. */
const isSelectedOrder = and(
  eq(orders.id, sql.placeholder('id')),
  sql`(${sql.placeholder('ownerId')}::integer is null or ${orders.userId} = ${sql.placeholder('ownerId')}::integer)`,
);

const selectOrder = prepareQuery((db) => db.select().from(orders).where(isSelectedOrder));

/** Locks the order and returns it with the time of the transaction. */
const lockOrder = prepareQuery((db) =>
  db
    .select({ ...getTableColumns(orders), now: sql`now()::timestamptz(3)`.mapWith(orders.updatedAt) })
    .from(orders)
    .where(isSelectedOrder)
    .for('update'),
);

const updateStatus = prepareStatement(sql`
  update orders set status = ${sql.placeholder('status')}, version = ${sql.placeholder('version')}, updated_at = now()
  where id = ${sql.placeholder('id')}`);

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

/** A row of `orders` in the text format of raw statements. */
type OrderRow = Record<'id' | 'user_id' | 'quantity' | 'total_cents' | 'version', number> & {
  readonly product: string;
  readonly status: OrderStatus;
  readonly created_at: string;
  readonly updated_at: string;
};

/** Columns of `OrderRow`. With `*`, PostgreSQL would reject the prepared statement after a migration that adds a column. */
const columns = sql.raw(
  'id, user_id, product, quantity, total_cents, status, version, created_at, updated_at',
);

/** Returns the statement that inserts an order and counts it, for each row of `buyer`, which has the column `user_id`. */
function placeStatement(buyer: SQL) {
  return prepareStatement<OrderRow>(sql`
    with buyer as (${buyer}), placed as (
      insert into orders (user_id, product, quantity, total_cents, status)
      select user_id, ${sql.placeholder('product')}, ${sql.placeholder('quantity')}::integer,
        ${sql.placeholder('totalCents')}::integer, ${sql.placeholder('status')}
      from buyer
      returning ${columns}
    ), ${countPlaced}
    select ${columns} from placed`);
}

/** Locks the user against deletion until the transaction ends. */
const placeIfKnown = placeStatement(
  sql`select user_id from known_users where user_id = ${sql.placeholder('userId')} and not deleted for share`,
);

const placeForAnyUser = placeStatement(sql`select ${sql.placeholder('userId')}::integer as user_id`);

/** @throws Failure `unknown-user`, UserNotInProjection */
async function placeForKnownUser(tx: Queries, order: NewOrder): Promise<Order> {
  const [row] = await placeIfKnown(tx, valuesOf(order, firstStatus));
  if (row !== undefined) return announced(tx, row);
  if ((await readUserState(tx, order.user_id)) === 'deleted') throw unknownUser();
  throw new UserNotInProjection();
}

/** Stores an order in an open transaction, without a check of its user. */
export async function insertOrder(
  tx: Queries,
  order: NewOrder,
  status: OrderStatus = firstStatus,
): Promise<Order> {
  const [row] = await placeForAnyUser(tx, valuesOf(order, status));
  return announced(tx, row);
}

function valuesOf({ user_id, product, quantity, total }: NewOrder, status: OrderStatus) {
  return { userId: user_id, product, quantity, totalCents: toCents(total), status };
}

/** Appends the event of a placed order. */
async function announced(tx: Queries, row: OrderRow | undefined): Promise<Order> {
  const { user_id, total_cents, created_at, updated_at, ...columns } = requireOrder(row);
  const order = {
    ...columns,
    userId: user_id,
    totalCents: total_cents,
    createdAt: new Date(created_at),
    updatedAt: new Date(updated_at),
  };
  await appendEvents(tx, [announceOrder(order)]);
  return order;
}

function requireOrder<Row>(row: Row | undefined): Row {
  if (row === undefined) throw new Failure('order-not-found');
  return row;
}
