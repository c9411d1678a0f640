const names = ['tests', 'suites', 'pass', 'fail', 'cancelled', 'skipped', 'todo', 'duration_ms'] as const;

/** The closing numbers of a run of `node --test`. */
export type TestSummary = Record<(typeof names)[number], number>;

/**
 * Reads the closing lines of a TAP stream (`# tests 12`, `# pass 12`, …); undefined when they are missing, which
 * is so when the runner was ended before its tests were.
 */
export function readSummary(tap: string): TestSummary | undefined {
  const closing = tap.trimEnd().split('\n').slice(-names.length);
  const numbers = names.map((name, index) => {
    const [mark, key, value] = closing[index]?.split(' ') ?? [];
    return mark === '#' && key === name ? Number(value) : Number.NaN;
  });
  if (numbers.some(Number.isNaN)) return undefined;
  return Object.fromEntries(names.map((name, index) => [name, numbers[index]])) as TestSummary;
}

/** Writes the sum of several runs as the runner writes one. */
export function formatSummary(summaries: readonly TestSummary[]): string {
  return names
    .map((name) => `# ${name} ${summaries.reduce((sum, summary) => sum + summary[name], 0)}`)
    .join('\n');
}
