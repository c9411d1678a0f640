import type { DatabaseSchema } from '@zerda/chassis/database/service-database';
import { constraints } from './store/constraints.ts';

/** Migrations and constraints of the database. */
export const databaseSchema: DatabaseSchema = {
  migrations: new URL('../migrations/', import.meta.url),
  constraints,
};
