import { userRoles } from '@zerda/contracts/user-service/users';
import { integer, pgTable, smallint, text, timestamp } from 'drizzle-orm/pg-core';

const instant = { withTimezone: true, precision: 3 } as const;

/** Defined in `migrations/`. */
export const users = pgTable('users', {
  id: integer().primaryKey().generatedAlwaysAsIdentity(),
  name: text().notNull(),
  email: text().notNull(),
  role: text({ enum: userRoles }).notNull(),
  /** Incremented by each change; returned as the `ETag`. */
  version: integer().notNull().default(1),
  createdAt: timestamp('created_at', instant).notNull().defaultNow(),
  updatedAt: timestamp('updated_at', instant).notNull().defaultNow(),
});

/** Defined in `migrations/`. */
export const userCounters = pgTable('user_counters', {
  /** Id of the user modulo 16. */
  slot: smallint().primaryKey(),
  users: integer().notNull(),
});
