import type { SeedNumbers, SeedResult } from './seed.ts';
import { type Transport, transports } from './stage.ts';

/** Columns of numbers, in their order. */
const columns = [
  ['kills', 'kills'],
  ['cuts', 'cuts'],
  ['pauses', 'pauses'],
  ['statements', 'failing'],
  ['strikes', 'amid'],
  ['acknowledged', 'writes'],
  ['events', 'events'],
  ['redeliveries', 'again'],
  ['suppressed', 'suppressed'],
  ['givenUp', 'given up'],
] as const satisfies readonly (readonly [keyof SeedNumbers, string])[];

const width = (title: string): number => Math.max(6, title.length) + 2;

/** The line above those of the seeds. */
export const heading = `${'seed'.padStart(6)}  ${'by'.padEnd(5)}${columns
  .map(([, title]) => title.padStart(width(title)))
  .join('')}${'s'.padStart(7)}  verdict`;

/** One line for a seed. */
export function formatLine(
  transport: Transport,
  { seed, numbers, violations, tooQuiet, ms }: SeedResult,
): string {
  const verdict =
    violations.length > 0
      ? `FAILED: ${[...new Set(violations.map(({ rule }) => rule))].join(', ')}`
      : tooQuiet === undefined
        ? 'passed'
        : 'DOES NOT COUNT';
  return `${String(seed).padStart(6)}  ${transport.padEnd(5)}${show(numbers)}${(ms / 1000).toFixed(1).padStart(7)}  ${verdict}`;
}

/** Sums for each transport, and for both. */
export function formatSummary(
  results: readonly { readonly transport: Transport; readonly result: SeedResult }[],
): string {
  const groups = [...transports, 'all'] as const;
  const lines = groups.map((group) => {
    const own = results.filter(({ transport }) => group === 'all' || transport === group);
    const sums = Object.fromEntries(
      columns.map(([key]) => [key, own.reduce((sum, { result }) => sum + result.numbers[key], 0)]),
    ) as unknown as SeedNumbers;
    const lost = own
      .flatMap(({ result }) => result.violations)
      .filter(({ rule }) => rule === 'write-lost' || rule === 'event-lost').length;
    return `${String(own.length).padStart(6)}  ${group.padEnd(5)}${show(sums)}${''.padStart(7)}  lost: ${lost}`;
  });
  return [`\n${heading.replace('  seed', ' seeds').replace(/ +s {2}verdict$/, '')}`, ...lines].join('\n');
}

function show(numbers: SeedNumbers): string {
  return columns.map(([key, title]) => String(numbers[key]).padStart(width(title))).join('');
}
