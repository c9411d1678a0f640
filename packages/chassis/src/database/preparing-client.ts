import pg from 'pg';

/** Texts that are prepared, at most, in one process: one that is put together anew for each number of rows must not fill the server. */
const maxStatements = 250;

/** Names of statements, by their text; the same on all connections. */
const names = new Map<string, string>();

function nameOf(text: string): string | undefined {
  const known = names.get(text);
  if (known !== undefined || names.size >= maxStatements) return known;
  const name = `statement_${names.size + 1}`;
  names.set(text, name);
  return name;
}

/**
 * A connection that has the server parse each statement once and keep its plan (PREPARE), instead of every time. What is
 * given as a bare string, such as `begin`, is sent as it is.
 */
export class PreparingClient extends pg.Client {
  // pg declares seven forms of it; they differ in what follows the statement, which is handed on.
  override query(...words: unknown[]): never {
    const [statement, ...others] = words;
    return super.query(...([withName(statement), ...others] as Parameters<pg.Client['query']>)) as never;
  }
}

function withName(statement: unknown): unknown {
  if (!isUnnamed(statement)) return statement;
  return { ...statement, name: nameOf(statement.text) };
}

/** Whether it is a statement in an object, and not a query that submits itself, as a cursor does. */
function isUnnamed(statement: unknown): statement is { text: string } {
  return (
    typeof statement === 'object' &&
    statement !== null &&
    'text' in statement &&
    typeof statement.text === 'string' &&
    !('submit' in statement) &&
    !('name' in statement && statement.name !== undefined)
  );
}
