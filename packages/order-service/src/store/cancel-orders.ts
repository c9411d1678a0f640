import { auditAfterCommit } from '@zerda/chassis/audit/audit-after-commit';
import type { Queries } from '@zerda/chassis/database/database';
import { appendEvents } from '@zerda/events/outbox';
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { cancellable } from '../domain/order-status.ts';
import { markUserDeleted } from './known-users.ts';
import { countStatusChanges, type StatusChange } from './order-counters.ts';
import { announceChange } from './order-events.ts';
import { orders } from './tables.ts';

/** Maximum number of orders that one transaction cancels, which limits its duration. */
const batchSize = 100;

/**
 * Runs one step of the saga of a deleted user: marks the user as deleted, which blocks new orders, and cancels one batch of open
 * orders. The saga can be interrupted at any point, because the next step finds the remaining orders.
 */
export async function cancelForDeletedUser(tx: Queries, userId: number): Promise<'more' | undefined> {
  await markUserDeleted(tx, userId);
  return (await cancelOpenOrders(tx, userId, batchSize)) === batchSize ? 'more' : undefined;
}

/**
 * Cancels up to `limit` pending or processing orders of a user, each with its event, and returns their number.
 * Statuses are processed in the order of the lifecycle, so that an order that moves on concurrently is found in its next status.
 */
async function cancelOpenOrders(tx: Queries, userId: number, limit: number): Promise<number> {
  const statusChanges: StatusChange[] = [];
  for (const from of cancellable) {
    if (statusChanges.length === limit) break;
    const openOrders = await tx
      .select({ id: orders.id })
      .from(orders)
      .where(and(eq(orders.userId, userId), eq(orders.status, from)))
      .orderBy(asc(orders.id))
      .limit(limit - statusChanges.length)
      .for('update');
    if (openOrders.length === 0) continue;
    const changed = await tx
      .update(orders)
      .set({ status: 'cancelled', version: sql`${orders.version} + 1`, updatedAt: sql`now()` })
      .where(
        inArray(
          orders.id,
          openOrders.map(({ id }) => id),
        ),
      )
      .returning();
    statusChanges.push(...changed.map((order) => ({ order, from })));
  }
  await countStatusChanges(tx, statusChanges);
  await appendEvents(
    tx,
    statusChanges.map(({ order, from }) => announceChange(order, from, 'user_deleted')),
  );
  auditAfterCommit(
    tx,
    statusChanges.map(({ order }) => ({
      action: 'order.cancel',
      entityId: order.id,
      newStatus: 'cancelled',
    })),
  );
  return statusChanges.length;
}
