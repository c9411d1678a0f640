import pg from 'pg';

/**
 * Maximum number of prepared statements per process. Statements whose text depends on the number of rows must not fill
 * the server memory.
 */
const maxStatements = 250;

/** Statement names by text, shared by all connections. */
const names = new Map<string, string>();

/** Part of each name; each invalidation increments it. */
let generation = 1;

function nameOf(text: string): string | undefined {
  const existing = names.get(text);
  if (existing !== undefined || names.size >= maxStatements) return existing;
  const name = `statement_${generation}_${names.size + 1}`;
  names.set(text, name);
  return name;
}

/**
 * Makes all connections prepare their statements again under new names. After a migration has changed the type of a
 * column, PostgreSQL rejects statements that were prepared before.
 */
export function invalidateStatements(): void {
  generation += 1;
  names.clear();
}

/**
 * A client that prepares each statement once per connection. Statements that are passed as a string, such as `begin`,
 * are not prepared.
 */
export class PreparingClient extends pg.Client {
  // pg declares seven overloads that differ only in the arguments after the statement.
  override query(statement: string | pg.QueryConfig, ...others: unknown[]): never {
    const named = typeof statement === 'string' ? statement : { ...statement, name: nameOf(statement.text) };
    return super.query(...([named, ...others] as Parameters<pg.Client['query']>)) as never;
  }
}
