/** How many requests each of them tells of, for the gateway and the whole run. */
export interface GatewayCounts {
  /** Requests that the load generator sent. */
  readonly sent: number;
  /** Whole and right answers that it got. */
  readonly answered: number;
  /** Requests that the upstream received from the gateway. */
  readonly received: number;
  /** Lines of the gateway's log about a request of this route. */
  readonly logLines: number;
  /** Count of the gateway's histogram of durations for this route. */
  readonly measured: number;
  /** Successes and failures that the circuit breaker of this upstream saw. */
  readonly judged: number;
}

const descriptions: Readonly<Record<keyof GatewayCounts, string>> = {
  sent: 'requests sent',
  answered: 'right answers',
  received: 'requests at the upstream',
  logLines: 'log lines',
  measured: 'durations in the histogram',
  judged: 'calls in the circuit breaker',
};

const names = Object.keys(descriptions) as (keyof GatewayCounts)[];

/** What differs from the number of requests sent, one line each: a gateway that leaves out work would look fast. */
export function compareCounts(counts: GatewayCounts): string[] {
  if (counts.sent === 0) return ['no request was sent'];
  return names
    .filter((name) => counts[name] !== counts.sent)
    .map((name) => `${counts[name]} ${descriptions[name]}, but ${counts.sent} ${descriptions.sent}`);
}

/** All counts in one line. */
export function formatCounts(counts: GatewayCounts): string {
  return names.map((name) => `${counts[name]} ${descriptions[name]}`).join(', ');
}

/**
 * The sum of one metric's samples in the text that Prometheus scrapes, over all that have these labels among theirs.
 */
export function sumSamples(
  exposition: string,
  name: string,
  labels: Readonly<Record<string, string>>,
): number {
  let sum = 0;
  for (const line of exposition.split('\n')) {
    const [, written = '', value] = line.startsWith(name)
      ? (/^(?:\{(.*)\})? (\S+)/.exec(line.slice(name.length)) ?? [])
      : [];
    if (value === undefined) continue;
    const has = new Map([...written.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text]));
    if (Object.entries(labels).every(([key, text]) => has.get(key) === text)) sum += Number(value);
  }
  return sum;
}
