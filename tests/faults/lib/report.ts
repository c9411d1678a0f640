import type { SeedNumbers, SeedResult } from './seed.ts';
import { type Transport, transports } from './test-system.ts';

/** Columns of the table, in order. */
const columns = [
  ['kills', 'kills'],
  ['cuts', 'cuts'],
  ['pauses', 'pauses'],
  ['statements', 'failures'],
  ['faultsUnderLoad', 'under load'],
  ['acknowledged', 'writes'],
  ['events', 'events'],
  ['redeliveries', 'redelivered'],
  ['duplicates', 'duplicates'],
  ['deadLetters', 'dead letters'],
] as const satisfies readonly (readonly [keyof SeedNumbers, string])[];

const width = (title: string): number => Math.max(6, title.length) + 2;

/** Header of the table. */
export const heading = `${'seed'.padStart(6)}  ${'by'.padEnd(5)}${columns
  .map(([, title]) => title.padStart(width(title)))
  .join('')}${'s'.padStart(7)}  verdict`;

/** Returns the row of a seed. */
export function formatLine(
  transport: Transport,
  { seed, numbers, violations, insufficient, ms }: SeedResult,
): string {
  const verdict =
    violations.length > 0
      ? `FAILED: ${[...new Set(violations.map(({ rule }) => rule))].join(', ')}`
      : insufficient === undefined
        ? 'passed'
        : 'DOES NOT COUNT';
  return `${String(seed).padStart(6)}  ${transport.padEnd(5)}${formatNumbers(numbers)}${(ms / 1000).toFixed(1).padStart(7)}  ${verdict}`;
}

/** Returns rows with the sums for each transport and for both. */
export function formatSummary(
  results: readonly { readonly transport: Transport; readonly result: SeedResult }[],
): string {
  const groups = [...transports, 'all'] as const;
  const lines = groups.map((group) => {
    const groupResults = results.filter(({ transport }) => group === 'all' || transport === group);
    const sums = Object.fromEntries(
      columns.map(([key]) => [key, groupResults.reduce((sum, { result }) => sum + result.numbers[key], 0)]),
    ) as unknown as SeedNumbers;
    const lost = groupResults
      .flatMap(({ result }) => result.violations)
      .filter(({ rule }) => rule === 'write-lost' || rule === 'event-lost').length;
    return `${String(groupResults.length).padStart(6)}  ${group.padEnd(5)}${formatNumbers(sums)}${''.padStart(7)}  lost: ${lost}`;
  });
  return [`\n${heading.replace('  seed', ' seeds').replace(/ +s {2}verdict$/, '')}`, ...lines].join('\n');
}

function formatNumbers(numbers: SeedNumbers): string {
  return columns.map(([key, title]) => String(numbers[key]).padStart(width(title))).join('');
}
