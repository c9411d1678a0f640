import assert from 'node:assert/strict';
import { type SQLWrapper, sql } from 'drizzle-orm';
import type { Database, Queries } from './database.ts';
import { rowsOf } from './rows-of.ts';

/** How PostgreSQL carried a query out. */
export interface QueryPlan {
  /** Kinds of steps, such as `Index Scan`, outermost first. */
  readonly steps: readonly string[];
  /** Rows that were read and thrown away by a filter, each time one was. */
  readonly discarded: number;
}

interface PlanNode {
  readonly 'Node Type': string;
  /** The numbers below are of one loop. */
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Rows Removed by Join Filter'?: number;
  readonly Plans?: readonly PlanNode[];
}

/** Runs a query under EXPLAIN ANALYZE, with the planner's settings as they are. */
export async function explain(database: Database, query: (db: Queries) => SQLWrapper): Promise<QueryPlan> {
  const [row] = await database.read((db) =>
    rowsOf<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
      db,
      sql`explain (analyze, format json) ${query(db).getSQL()}`,
    ),
  );
  assert.ok(row);
  const nodes = flatten(row['QUERY PLAN'][0].Plan);
  return {
    steps: nodes.map((node) => node['Node Type']),
    discarded: nodes.reduce((sum, node) => sum + discardedBy(node), 0),
  };
}

function discardedBy(node: PlanNode): number {
  const each = (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Join Filter'] ?? 0);
  return each * node['Actual Loops'];
}

function flatten(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}
