import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { blueprints, root, services } from '../lib/services.ts';

/**
 * Statements with which the previous version of a service fails, or whose rows it cannot read or write. Both versions use one database during
 * a rollout, and after a rollback. The first group is the table, if the statement is harmless for a table of the same migration.
 */
const breaking: readonly [statement: RegExp, effect: string][] = [
  [/^drop (?:table|view|materialized view|type|domain|function|sequence|schema)\b/, 'removes an object'],
  [/^truncate\b|^delete from\b/, 'removes rows'],
  [/^alter (?!table\b).*\brename\b/, 'renames an object'],
  [/^alter table (?:if exists )?(?:only )?(\S+) .*\brename\b/, 'renames a column or the table'],
  [
    /^alter table (?:if exists )?(?:only )?(\S+) .*\bdrop (?:column |(?!constraint|not null|default|expression|identity))/,
    'removes a column',
  ],
  [/^alter table (?:if exists )?(?:only )?(\S+) .*\balter \S.* type\b/, 'changes the type of a column'],
  [
    /^alter table (?:if exists )?(?:only )?(\S+) .*\bset (?:not null|schema)\b/,
    'requires a value or moves the table',
  ],
  [
    /^alter table (?:if exists )?(?:only )?(\S+) .*\badd (?:constraint|check|unique|primary key|foreign key|exclude)\b/,
    'rejects rows that the previous version may write',
  ],
  [/^create unique index .*? on (?:only )?([^\s(]+)/, 'rejects rows that the previous version may write'],
];

/** A column that is added. The rest of its definition ends at the next comma outside of parentheses. */
const addedColumn =
  /\badd (?:column )?(?:if not exists )?(?!constraint|check|unique|primary key|foreign key|exclude)(\S+) ((?:[^,(]|\([^)]*\))*)/g;

/** A line with a reason, which permits a migration to remove what no running version uses. */
const permitted = /^-- No version uses it since \S+@\d+\.\d+\.\d+: \S/m;

/**
 * Returns the statements of the services' migrations below `directory` (default: the repository) with which the previous version of a service
 * does not work, one line each. A migration is permitted with a line `-- No version uses it since <service>@<version>: <what>`.
 */
export async function findBreakingMigrations(directory = root): Promise<string[]> {
  const findings: string[] = [];
  for (const { name, database } of [...services, ...blueprints]) {
    if (!database) continue;
    const folder = join(directory, 'packages', name, 'migrations');
    for (const file of (await readdir(folder)).filter((entry) => entry.endsWith('.sql')).sort()) {
      const sql = await readFile(join(folder, file), 'utf8');
      if (permitted.test(sql)) continue;
      for (const effect of breakingEffects(sql))
        findings.push(
          `packages/${name}/migrations/${file}: ${effect}. Add first, and remove in a later release (CONTRIBUTING.md, "Making a change").`,
        );
    }
  }
  return findings;
}

/** Returns what the statements of a migration break for the previous version. */
export function breakingEffects(sql: string): string[] {
  const statements = splitStatements(sql);
  const created = new Set(
    statements.flatMap(
      (statement) => /^create table (?:if not exists )?([^\s(]+)/.exec(statement)?.[1] ?? [],
    ),
  );
  return statements.flatMap((statement) => {
    const found = breaking.find(([pattern]) => {
      const match = pattern.exec(statement);
      return match !== null && !created.has(match[1] ?? '');
    });
    if (found !== undefined) return [`${summarize(statement)} ${found[1]}`];
    const table = /^alter table (?:if exists )?(?:only )?(\S+)/.exec(statement)?.[1];
    if (table === undefined || created.has(table)) return [];
    return [...statement.matchAll(addedColumn)]
      .filter(
        ([, , definition = '']) =>
          /\bnot null\b/.test(definition) && !/\b(default|generated)\b/.test(definition),
      )
      .map(
        ([, column]) => `${summarize(statement)} adds ${column}, which the previous version does not write`,
      );
  });
}

/** Returns the statements in lower case without comments, with single spaces and empty string literals. */
function splitStatements(sql: string): string[] {
  return sql
    .replace(/--.*$|\/\*[\s\S]*?\*\//gm, ' ')
    .replace(/'(?:[^']|'')*'/g, "''")
    .replace(/\$(\w*)\$[\s\S]*?\$\1\$/g, "''")
    .split(';')
    .map((statement) => statement.replace(/\s+/g, ' ').trim().toLowerCase())
    .filter((statement) => statement !== '');
}

function summarize(statement: string): string {
  return statement.length > 60 ? `"${statement.slice(0, 60)}…"` : `"${statement}"`;
}
