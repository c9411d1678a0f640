import type { PublicKey } from '@zerda/contracts/user-service/identity';
import { doublePrecision, integer, json, pgTable, primaryKey, text, timestamp } from 'drizzle-orm/pg-core';

const instant = { withTimezone: true, precision: 3 } as const;

/** Defined in `migrations/`. */
export const credentials = pgTable('credentials', {
  userId: integer('user_id').primaryKey(),
  passwordHash: text('password_hash').notNull(),
  changedAt: timestamp('changed_at', instant).notNull().defaultNow(),
});

/** Defined in `migrations/`. */
export const sessions = pgTable('sessions', {
  familyHash: text('family_hash').primaryKey(),
  userId: integer('user_id').notNull(),
  tokenHash: text('token_hash').notNull(),
  previousHash: text('previous_hash'),
  rotatedAt: timestamp('rotated_at', instant).notNull().defaultNow(),
  createdAt: timestamp('created_at', instant).notNull().defaultNow(),
  expiresAt: timestamp('expires_at', instant).notNull(),
});

/** Defined in `migrations/`. */
export const signingKeys = pgTable('signing_keys', {
  kid: text().primaryKey(),
  publicKey: json('public_key').$type<PublicKey>().notNull(),
  privateKey: text('private_key').notNull(),
  createdAt: timestamp('created_at', instant).notNull().defaultNow(),
  signsFrom: timestamp('signs_from', instant).notNull(),
  endsAt: timestamp('ends_at', instant),
});

/** A row of signing keys. */
export type StoredKey = typeof signingKeys.$inferSelect;

/** Defined in `migrations/`. */
export const loginAttempts = pgTable('login_attempts', {
  key: text().primaryKey(),
  level: doublePrecision().notNull(),
  at: timestamp(instant).notNull(),
});

/** Defined in `migrations/`. */
export const knownAddresses = pgTable(
  'known_addresses',
  {
    userId: integer('user_id').notNull(),
    address: text().notNull(),
    lastAt: timestamp('last_at', instant).notNull(),
  },
  (table) => [primaryKey({ columns: [table.userId, table.address] })],
);
