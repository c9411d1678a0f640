import { percentile } from '../bench/statistics.ts';
import type { SteadyOutcome } from '../bench/steady-load.ts';
import type { Window } from './clients.ts';

const header = ['fault', 'seconds', 'requests', 'failed', 'p99 ms'];

/** What clients saw of a fault, in a line. */
export function formatFault({ title, outcomes, failed }: Window): string {
  return `${title}: ${outcomes.length} requests, ${failed.length} failed`;
}

/** What clients saw of the faults, as a table in Markdown. */
export function formatFaults(windows: readonly Window[]): string {
  const rows = windows.map((window) => {
    const { title, from, to, outcomes, failed } = window;
    const p99 = percentileOf(window, 99).toFixed(0);
    return [title, ((to - from) / 1000).toFixed(0), String(outcomes.length), String(failed.length), p99];
  });
  const rule = header.map((_, column) => (column === 0 ? '---' : '---:'));
  return [header, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** Milliseconds that a share of the requests of a window, in percent, took at most; 0 when there were none. */
export function percentileOf({ outcomes }: Pick<Window, 'outcomes'>, percent: number): number {
  const times = outcomes.map(({ ms }) => ms).sort((a, b) => a - b);
  return percentile(times, percent) ?? 0;
}

/** What failed in a window, by what the client saw, with one of each. */
export function describeFailures({ title, from, failed }: Window): string {
  const kinds = [...new Set(failed.map(kindOf))];
  const lines = kinds.map((kind) => {
    const all = failed.filter((outcome) => kindOf(outcome) === kind);
    const [first] = all;
    const at = (((first?.sentAt ?? from) - from) / 1000).toFixed(1);
    return `${all.length} x ${kind}, the first ${at} s after the beginning: ${first?.text ?? ''}`;
  });
  return [`${title}: ${failed.length} requests failed`, ...lines].join('\n  ');
}

function kindOf({ status, error }: SteadyOutcome): string {
  return String(status ?? error);
}

/**
 * Whether all that failed were on their way at one moment, that of a sudden end: none was sent after the
 * first had broken. Connections break one after another; `spreadMs` is how far apart, by default 100.
 */
export function failedAtOnce(failed: readonly SteadyOutcome[], spreadMs = 100): boolean {
  if (failed.length === 0) return true;
  const lastSent = Math.max(...failed.map(({ sentAt }) => sentAt));
  const firstEnded = Math.min(...failed.map(({ endedAt }) => endedAt));
  return lastSent <= firstEnded + spreadMs;
}
