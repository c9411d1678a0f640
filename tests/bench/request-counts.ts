/** Numbers of requests to the gateway in a whole run, by source. */
export interface GatewayCounts {
  /** Requests that the load generator sent. */
  readonly sent: number;
  /** Complete responses with the expected status and length. */
  readonly responded: number;
  /** Requests that the upstream received from the gateway. */
  readonly received: number;
  /** Access log lines of the gateway for this route. */
  readonly logLines: number;
  /** Count of the gateway's duration histogram for this route. */
  readonly measured: number;
  /** Successes and failures that the circuit breaker of this upstream counted. */
  readonly circuitCalls: number;
}

const descriptions: Readonly<Record<keyof GatewayCounts, string>> = {
  sent: 'requests sent',
  responded: 'correct responses',
  received: 'requests received by the upstream',
  logLines: 'log lines',
  measured: 'durations in the histogram',
  circuitCalls: 'calls counted by the circuit breaker',
};

const names = Object.keys(descriptions) as (keyof GatewayCounts)[];

/** Returns every count that differs from the requests sent, one line each. A gateway that skips work would look fast. */
export function compareCounts(counts: GatewayCounts): string[] {
  if (counts.sent === 0) return ['no request was sent'];
  return names
    .filter((name) => counts[name] !== counts.sent)
    .map((name) => `${counts[name]} ${descriptions[name]}, but ${counts.sent} ${descriptions.sent}`);
}

/** Formats all counts as one line. */
export function formatCounts(counts: GatewayCounts): string {
  return names.map((name) => `${counts[name]} ${descriptions[name]}`).join(', ');
}

/** Returns the sum of a metric's samples that have at least the given labels, in the Prometheus text format. */
export function sumSamples(
  exposition: string,
  name: string,
  labels: Readonly<Record<string, string>>,
): number {
  let sum = 0;
  for (const line of exposition.split('\n')) {
    const [, labelText = '', value] = line.startsWith(name)
      ? (/^(?:\{(.*)\})? (\S+)/.exec(line.slice(name.length)) ?? [])
      : [];
    if (value === undefined) continue;
    const sampleLabels = new Map(
      [...labelText.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text]),
    );
    if (Object.entries(labels).every(([key, text]) => sampleLabels.get(key) === text)) sum += Number(value);
  }
  return sum;
}
