import type { DatabaseSchema } from '@zerda/chassis/database/service-database';
import { constraints } from './store/constraints.ts';
import { loadDemoOrders } from './store/demo-data.ts';

/** Migrations, constraints and demo data of the database. */
export const databaseSchema: DatabaseSchema = {
  migrations: new URL('../migrations/', import.meta.url),
  constraints,
  demoData: loadDemoOrders,
};
