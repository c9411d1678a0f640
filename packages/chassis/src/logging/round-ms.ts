/** Rounds milliseconds for a log line, to tenths. */
export function roundMs(ms: number): number {
  return Math.round(ms * 10) / 10;
}
