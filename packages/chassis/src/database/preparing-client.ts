import pg from 'pg';

/** Texts that are prepared, at most, in one process: one that is put together anew for each number of rows must not fill the server. */
const maxStatements = 250;

/** Names of statements, by their text; the same on all connections. */
const names = new Map<string, string>();

/** How often statements were named anew; part of each name. */
let generation = 1;

function nameOf(text: string): string | undefined {
  const known = names.get(text);
  if (known !== undefined || names.size >= maxStatements) return known;
  const name = `statement_${generation}_${names.size + 1}`;
  names.set(text, name);
  return name;
}

/**
 * Has every connection parse its statements anew, under other names: once a migration has changed the type of a column, PostgreSQL
 * refuses statements that were prepared before. What connections keep under the old names goes with them.
 */
export function forgetStatements(): void {
  generation += 1;
  names.clear();
}

/**
 * A connection that has the server parse each statement once and keep its plan (PREPARE), instead of every time. What is
 * given as a bare string, such as `begin`, is sent as it is.
 */
export class PreparingClient extends pg.Client {
  // pg declares seven forms of it; they differ in what follows the statement, which is handed on.
  override query(statement: string | pg.QueryConfig, ...others: unknown[]): never {
    const named = typeof statement === 'string' ? statement : { ...statement, name: nameOf(statement.text) };
    return super.query(...([named, ...others] as Parameters<pg.Client['query']>)) as never;
  }
}
