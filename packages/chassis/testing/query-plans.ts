import assert from 'node:assert/strict';
import { type SQLWrapper, sql } from 'drizzle-orm';
import type { Database, Queries } from '../src/database/database.ts';
import { rowsOf } from '../src/database/rows-of.ts';

/** The execution plan of a query. */
export interface QueryPlan {
  /** Node types, such as `Index Scan`, outermost first. */
  readonly steps: readonly string[];
  /** Number of rows that filters removed. */
  readonly discarded: number;
}

interface PlanNode {
  readonly 'Node Type': string;
  /** The numbers below are per loop. */
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Rows Removed by Join Filter'?: number;
  readonly Plans?: readonly PlanNode[];
}

/** Runs a query with EXPLAIN ANALYZE and default planner settings. */
export async function explain(database: Database, query: (db: Queries) => SQLWrapper): Promise<QueryPlan> {
  const [row] = await database.query((db) =>
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
