import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { blueprints, root, services } from '../lib/services.ts';

/**
 * Statements with which the previous version of a service keeps working. Both versions use one database during a rollout, and after a
 * rollback. All other statements are rejected.
 */
const additive: readonly RegExp[] = [
  /^create (?:unlogged )?table (?!.* as select\b)/,
  /^create index\b/,
  /^create (?:view|materialized view|type|domain|sequence|function|schema|extension|statistics)\b/,
  /^(?:insert into|update|select|set|comment on|grant|analyze)\b/,
  /^alter type \S+ add value\b/,
];

/** Changes of an existing table with which the previous version keeps working. */
const additiveChanges: readonly RegExp[] = [
  /^add (?:column )?(?:if not exists )?(?!(?:constraint|check|unique|primary|foreign|exclude)\b)(?!.*\b(?:primary key|unique|check|references|exclude)\b)(?:(?!.*\bnot null\b)|(?=.*\b(?:default|generated)\b)|\S+ (?:big|small)?serial\b)/,
  /^alter (?:column )?\S+ (?:set default|drop not null|set statistics|set storage|set compression|add generated)\b/,
  /^validate constraint\b/,
  /^set \(/,
];

const alterTable = /^alter table (?:if exists )?(?:only )?(\S+) /;
const uniqueIndex =
  /^create unique index (?:concurrently )?(?:(?:if not exists )?\S+ )?on (?:only )?([^\s(]+)/;

/** Comments, string literals and quoted names, in the order of the alternatives at each position (PostgreSQL, "Lexical Structure"). */
const tokens =
  /--[^\n]*|\/\*[\s\S]*?\*\/|\be'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$[a-z_]*\$)[\s\S]*?\1/gi;

/** A line that permits a migration to remove what no version uses since the named one. */
const permission = /^-- No version uses it since (\S+)@(\d+)\.(\d+)\.(\d+): \S/m;

/**
 * Returns the statements of the services' migrations below `directory` (default: the repository) with which the previous version of a service
 * may not work, one line each. A migration is permitted with a line `-- No version uses it since <service>@<version>: <what>`, with a
 * version that the service has reached.
 */
export async function findBreakingMigrations(directory = root): Promise<string[]> {
  const findings: string[] = [];
  for (const { name, database, version } of [...services, ...blueprints]) {
    if (!database) continue;
    const folder = join(directory, 'packages', name, 'migrations');
    for (const file of (await readdir(folder)).filter((entry) => entry.endsWith('.sql')).sort()) {
      const sql = await readFile(join(folder, file), 'utf8');
      if (isPermitted(sql, name, version)) continue;
      for (const statement of findBreaking(sql))
        findings.push(
          `packages/${name}/migrations/${file}: the previous version of the service may not work after "${shorten(statement)}". Add first, and remove in a later release (CONTRIBUTING.md, "Making a change").`,
        );
    }
  }
  return findings;
}

function isPermitted(sql: string, service: string, current: string): boolean {
  const [, name, ...since] = permission.exec(sql) ?? [];
  if (name !== service) return false;
  const reached = current.split('.').map(Number);
  const difference = since
    .map((part, index) => Number(part) - (reached[index] ?? 0))
    .find((part) => part !== 0);
  return (difference ?? 0) <= 0;
}

/** Returns the statements of a migration with which the previous version of a service may not work. */
export function findBreaking(sql: string): string[] {
  const statements = splitStatements(sql);
  // With `if not exists`, the table may be an existing one.
  const created = new Set(
    statements.flatMap(
      (statement) => /^create (?:unlogged )?table (?!if )([^\s(]+)/.exec(statement)?.[1] ?? [],
    ),
  );
  return statements.filter((statement) => {
    const table = (alterTable.exec(statement) ?? uniqueIndex.exec(statement))?.[1];
    if (table !== undefined && created.has(table)) return false;
    if (alterTable.test(statement))
      return splitChanges(statement.replace(alterTable, '')).some(
        (change) => !additiveChanges.some((pattern) => pattern.test(change)),
      );
    return !additive.some((pattern) => pattern.test(statement));
  });
}

/** Splits the changes of an `alter table` at the commas outside of parentheses. */
function splitChanges(changes: string): string[] {
  let depth = 0;
  const parts = [''];
  for (const character of changes) {
    if (character === '(') depth += 1;
    if (character === ')') depth -= 1;
    if (character === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts.map((part) => part.trim());
}

/** Returns the statements in lower case without comments, with single spaces, empty string literals and names without quotes. */
function splitStatements(sql: string): string[] {
  return sql
    .replace(tokens, (token) => {
      if (token.startsWith('--') || token.startsWith('/*')) return ' ';
      return token.startsWith('"') ? token.slice(1, -1).replace(/\W/g, '_') : "''";
    })
    .split(';')
    .map((statement) => statement.replace(/\s+/g, ' ').trim().toLowerCase())
    .filter((statement) => statement !== '');
}

function shorten(statement: string): string {
  return statement.length > 60 ? `${statement.slice(0, 60)}…` : statement;
}
