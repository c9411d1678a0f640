const names = ['tests', 'suites', 'pass', 'fail', 'cancelled', 'skipped', 'todo', 'duration_ms'] as const;

/** The summary of a run of `node --test`. */
export type TestSummary = Record<(typeof names)[number], number>;

/**
 * Reads the summary at the end of a TAP stream (`# tests 12`, `# pass 12`, …). Returns undefined when it is missing,
 * because the runner stopped early.
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

/** Formats the sum of several runs like the summary of one run. */
export function formatSummary(summaries: readonly TestSummary[]): string {
  return names
    .map((name) => `# ${name} ${summaries.reduce((sum, summary) => sum + summary[name], 0)}`)
    .join('\n');
}
