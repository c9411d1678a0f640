import { integer, pgTable, text, timestamp } from 'drizzle-orm/pg-core';

const instant = { withTimezone: true, precision: 3 } as const;

/** Defined in `migrations/`. */
export const sampleItems = pgTable('sample_items', {
  id: integer().primaryKey().generatedAlwaysAsIdentity(),
  userId: integer('user_id').notNull(),
  name: text().notNull(),
  /** Incremented by each change; returned as the `ETag`. */
  version: integer().notNull().default(1),
  createdAt: timestamp('created_at', instant).notNull().defaultNow(),
  updatedAt: timestamp('updated_at', instant).notNull().defaultNow(),
});
