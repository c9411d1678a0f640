import type { Queries } from '@zerda/chassis/database/database';
import { append } from '@zerda/chassis/events/outbox';
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { cancellable } from '../domain/order-status.ts';
import { countMoved, type Move } from './order-counters.ts';
import { announceChange } from './order-events.ts';
import { orders } from './tables.ts';

/**
 * Cancels open orders of a user, `limit` at most, each with its event; returns how many. Those that are on their way stay. Statuses are
 * gone through in the order in which an order takes them, so that one that moves on meanwhile is met later.
 */
export async function cancelOpenOrders(tx: Queries, userId: number, limit: number): Promise<number> {
  const moves: Move[] = [];
  for (const from of cancellable) {
    if (moves.length === limit) break;
    const open = await tx
      .select({ id: orders.id })
      .from(orders)
      .where(and(eq(orders.userId, userId), eq(orders.status, from)))
      .orderBy(asc(orders.id))
      .limit(limit - moves.length)
      .for('update');
    if (open.length === 0) continue;
    const changed = await tx
      .update(orders)
      .set({ status: 'cancelled', version: sql`${orders.version} + 1`, updatedAt: sql`now()` })
      .where(
        inArray(
          orders.id,
          open.map(({ id }) => id),
        ),
      )
      .returning();
    moves.push(...changed.map((order) => ({ order, from })));
  }
  await countMoved(tx, moves);
  await append(
    tx,
    moves.map(({ order, from }) => announceChange(order, from, 'user_deleted')),
  );
  return moves.length;
}
