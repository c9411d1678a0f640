/**
 * Returns a line for each of the test files that used the most CPU, first the most, with wall and CPU time.
 * @param durations what `test-group.mjs` wrote
 */
export function formatDurations(durations: string, count = 15): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1).padStart(7)} s`;
  return durations
    .split('\n')
    .filter((line) => line !== '')
    .map((line): [number, number, string] => JSON.parse(line))
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([wallMs, cpuMs, file]) => `${seconds(cpuMs)} CPU ${seconds(wallMs)}  ${file}`)
    .join('\n');
}
