import { orderStatuses } from '@zerda/contracts/order-service/orders';
import {
  bigint,
  boolean,
  integer,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';

const instant = { withTimezone: true, precision: 3 } as const;

/** Defined in `migrations/`. */
export const orders = pgTable('orders', {
  id: integer().primaryKey().generatedAlwaysAsIdentity(),
  userId: integer('user_id').notNull(),
  product: text().notNull(),
  quantity: integer().notNull(),
  totalCents: integer('total_cents').notNull(),
  status: text({ enum: orderStatuses }).notNull(),
  /** Incremented by each change; returned as the `ETag`. */
  version: integer().notNull().default(1),
  createdAt: timestamp('created_at', instant).notNull().defaultNow(),
  updatedAt: timestamp('updated_at', instant).notNull().defaultNow(),
});

/** Defined in `migrations/`. */
export const orderCounters = pgTable(
  'order_counters',
  {
    /** Id of the order modulo 16. */
    slot: smallint().notNull(),
    status: text({ enum: orderStatuses }).notNull(),
    orders: integer().notNull(),
    totalCents: bigint('total_cents', { mode: 'number' }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.slot, table.status] })],
);

/** Defined in `migrations/`. */
export const userOrderCounters = pgTable('user_order_counters', {
  userId: integer('user_id').primaryKey(),
  orders: integer().notNull(),
});

/** Defined in `migrations/`. */
export const knownUsers = pgTable('known_users', {
  userId: integer('user_id').primaryKey(),
  /** The row remains after the deletion, so that a late event cannot add the user again. */
  deleted: boolean().notNull().default(false),
});
