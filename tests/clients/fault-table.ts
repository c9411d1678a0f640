import { percentile } from '../bench/statistics.ts';
import type { SteadyOutcome } from '../bench/steady-load.ts';
import type { Window } from './clients.ts';

const header = ['fault', 'seconds', 'requests', 'failed', 'p99 ms'];

/** Returns a line with the numbers of requests and failures of a window. */
export function formatFault({ title, outcomes, failed }: Window): string {
  return `${title}: ${outcomes.length} requests, ${failed.length} failed`;
}

/** Returns a Markdown table with a row for each window. */
export function formatFaults(windows: readonly Window[]): string {
  const rows = windows.map((window) => {
    const { title, from, to, outcomes, failed } = window;
    const p99 = percentileOf(window, 99).toFixed(0);
    return [title, ((to - from) / 1000).toFixed(0), String(outcomes.length), String(failed.length), p99];
  });
  const rule = header.map((_, column) => (column === 0 ? '---' : '---:'));
  return [header, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** Returns a percentile of the request durations of a window in milliseconds; 0 without requests. */
export function percentileOf({ outcomes }: Pick<Window, 'outcomes'>, percent: number): number {
  const times = outcomes.map(({ ms }) => ms).sort((a, b) => a - b);
  return percentile(times, percent) ?? 0;
}

/** Returns the failures of a window, grouped by status or error, with their times and an example of each. */
export function describeFailures({ title, from, failed }: Window): string {
  const kinds = [...new Set(failed.map(kindOf))];
  const lines = kinds.map((kind) => {
    const all = failed.filter((outcome) => kindOf(outcome) === kind);
    const seconds = (ms: number): string => ((ms - from) / 1000).toFixed(2);
    const sent = all.map(({ sentAt }) => sentAt);
    const ended = all.map(({ endedAt }) => endedAt);
    const times = [Math.min(...sent), Math.max(...sent), Math.min(...ended), Math.max(...ended)].map(seconds);
    const [firstSent, lastSent, firstEnded, lastEnded] = times;
    return `${all.length} x ${kind}, sent after ${firstSent} to ${lastSent} s, ended after ${firstEnded} to ${lastEnded} s: ${all[0]?.text ?? ''}`;
  });
  return [`${title}: ${failed.length} requests failed`, ...lines].join('\n  ');
}

function kindOf({ status, error }: SteadyOutcome): string {
  return String(status ?? error);
}

/**
 * Returns whether all failed requests were in flight at one point in time, such as the end of a process: none was sent after the first one had
 * failed. `spreadMs` is the tolerance in milliseconds, because connections break one after another.
 */
export function failedAtOnce(failed: readonly SteadyOutcome[], spreadMs: number): boolean {
  if (failed.length === 0) return true;
  const lastSent = Math.max(...failed.map(({ sentAt }) => sentAt));
  const firstEnded = Math.min(...failed.map(({ endedAt }) => endedAt));
  return lastSent <= firstEnded + spreadMs;
}
