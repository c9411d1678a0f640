import type { PGlite, QueryOptions, Transaction } from '@electric-sql/pglite';
import type pg from 'pg';
import { currentContext } from '../request-context.ts';
import type { Attributes } from '../tracing/catalog.ts';
import { inSpan } from '../tracing/in-span.ts';
import { driverError } from './database-errors.ts';

/** Returns the client, or one that records a span of each statement if the current request is recorded. */
export function tracedPostgres<Client extends pg.Pool | pg.PoolClient>(client: Client): Client {
  return currentContext()?.span === undefined ? client : (new TracedPostgres(client) as unknown as Client);
}

/** Same as `tracedPostgres`, for PGlite. */
export function tracedPglite(lite: PGlite): PGlite {
  return currentContext()?.span === undefined ? lite : (new TracedPglite(lite) as unknown as PGlite);
}

/** The part of a client that drizzle uses. */
class TracedPostgres {
  readonly #client: pg.Pool | pg.PoolClient;

  constructor(client: pg.Pool | pg.PoolClient) {
    this.#client = client;
  }

  query(statement: pg.QueryConfig, values: unknown[]): Promise<pg.QueryResult> {
    return inStatementSpan(statement.text, () => this.#client.query(statement, values));
  }
}

class TracedPglite {
  readonly #lite: PGlite | Transaction;

  constructor(lite: PGlite | Transaction) {
    this.#lite = lite;
  }

  query(text: string, values?: unknown[], options?: QueryOptions): Promise<unknown> {
    return inStatementSpan(text, () => this.#lite.query(text, values, options));
  }

  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const traced = (tx: Transaction) => work(new TracedPglite(tx) as unknown as Transaction);
    return (this.#lite as PGlite).transaction(traced);
  }
}

/** SQLSTATE, also of errors whose code has letters. */
const sqlState = /^[0-9A-Z]{5}$/;

function inStatementSpan<T>(text: string, work: () => Promise<T>): Promise<T> {
  return inSpan(
    'statement',
    () => {
      const attributes = attributesOf(text);
      return { name: String(attributes['db.query.summary']), attributes };
    },
    async (span) => {
      try {
        return await work();
      } catch (error) {
        const { code } = driverError(error);
        if (code !== undefined && sqlState.test(code)) span?.set({ 'db.response.status_code': code });
        throw error;
      }
    },
  );
}

/** Attributes by statement text. Texts have parameters instead of values, so there are few. */
const cache = new Map<string, Attributes>();
const maxCached = 500;

function attributesOf(text: string): Attributes {
  const cached = cache.get(text);
  if (cached !== undefined) return cached;
  const summary = summaryOf(text);
  const attributes: Attributes = {
    'db.system.name': 'postgresql',
    'db.operation.name': summary.split(' ', 1)[0],
    'db.query.summary': summary,
  };
  if (cache.size < maxCached) cache.set(text, attributes);
  return attributes;
}

const commands =
  /\b(?:(insert)\s+into|(delete)\s+from|(?<!\bfor\s+)(?<!\bkey\s+)(update)(?!\s+set)|(select)|from|join)\b(?:\s+(?:only\s+)?"?([a-z_]\w*)"?)?/gi;

/** Maximum characters of a summary, as in the semantic conventions. */
const maxSummaryLength = 255;

/** Names of common table expressions. */
const commonTables = /\b(\w+) as \(/gi;

/**
 * Returns the commands and tables of a statement, such as `INSERT orders SELECT users` (OpenTelemetry semantic conventions,
 * `db.query.summary`). It contains neither columns nor values, nor reads of common table expressions and functions.
 */
export function summaryOf(text: string): string {
  const words: string[] = [];
  // Literals could contain SQL words.
  const withoutLiterals = text.replaceAll(/'(?:[^']|'')*'/g, "''");
  const ownNames = new Set([...withoutLiterals.matchAll(commonTables)].map(([, name]) => name));
  for (const match of withoutLiterals.matchAll(commands)) {
    const [, ...groups] = match;
    const table = groups.pop();
    const command = groups.find((group) => group !== undefined)?.toUpperCase();
    const isFunction = withoutLiterals[match.index + match[0].length] === '(';
    if (command === undefined && (isFunction || ownNames.has(table))) {
      if (words.at(-1) === 'SELECT') words.pop();
      continue;
    }
    if (command !== undefined) words.push(command);
    // The word after SELECT is a column.
    if (command !== 'SELECT' && table !== undefined) words.push(table);
  }
  const summary = words.length === 0 ? (/\w+/.exec(text)?.[0] ?? 'statement').toUpperCase() : words.join(' ');
  return summary.slice(0, maxSummaryLength);
}
