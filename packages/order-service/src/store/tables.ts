import type { KeyCopy } from '@zerda/chassis/auth/key-set';
import { orderStatuses } from '@zerda/contracts/orders';
import {
  bigint,
  boolean,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
} from 'drizzle-orm/pg-core';

const instant = { withTimezone: true, precision: 3 } as const;

/** As `migrations/` makes it. */
export const orders = pgTable('orders', {
  id: integer().primaryKey().generatedAlwaysAsIdentity(),
  userId: integer('user_id').notNull(),
  product: text().notNull(),
  quantity: integer().notNull(),
  totalCents: integer('total_cents').notNull(),
  status: text({ enum: orderStatuses }).notNull(),
  /** Goes up by one with each change; shown as the `ETag`. */
  version: integer().notNull().default(1),
  createdAt: timestamp('created_at', instant).notNull().defaultNow(),
  updatedAt: timestamp('updated_at', instant).notNull().defaultNow(),
});

/** A row of orders. */
export type StoredOrder = typeof orders.$inferSelect;

/** As `migrations/` makes it. */
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

/** As `migrations/` makes it. */
export const userOrderCounters = pgTable('user_order_counters', {
  userId: integer('user_id').primaryKey(),
  orders: integer().notNull(),
});

/** As `migrations/` makes it. */
export const knownUsers = pgTable('known_users', {
  userId: integer('user_id').primaryKey(),
  /** Their row stays, so that nothing makes them known again. */
  deleted: boolean().notNull().default(false),
});

/** As `migrations/` makes it. */
export const verificationKeys = pgTable('verification_keys', {
  /** URL that the keys come from. */
  source: text().primaryKey(),
  keys: jsonb().$type<KeyCopy['keys']>().notNull(),
  /** When the issuer had these keys. */
  loadedAt: timestamp('loaded_at', { withTimezone: true }).notNull(),
});
