import { relative } from 'node:path';

/**
 * Returns a line for each of the slowest files of tests, slowest first.
 * @param durations what `duration-reporter.mjs` wrote
 * @param folder files are named relative to it. A file that was bundled into it is named after its source
 */
export function formatSlowestFiles(durations: string, folder: string, count = 10): string {
  return durations
    .split('\n')
    .filter((line) => line !== '')
    .map((line): [number, string] => JSON.parse(line))
    .sort(([a], [b]) => b - a)
    .slice(0, count)
    .map(
      ([ms, file]) =>
        `${(ms / 1000).toFixed(1).padStart(7)} s  ${relative(folder, file).replace(/\.mjs$/, '.ts')}`,
    )
    .join('\n');
}
