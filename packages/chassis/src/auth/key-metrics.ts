import { Counter, Gauge, type Registry } from 'prom-client';

/** Metrics of the keys that verify access tokens. */
export interface KeyMetrics {
  /** Counts a load of the keys from the issuer or from a copy. */
  fetched(outcome: 'succeeded' | 'failed'): void;
  /** Exports the age of the keys in seconds; `read` is called at each scrape. */
  age(read: () => number): void;
}

/** Registers the metrics of a key set. They are absent without authentication. */
export function registerKeyMetrics(registry: Registry): KeyMetrics {
  const registers = [registry];
  const fetches = new Counter({
    name: 'jwks_fetches_total',
    help: 'Fetches of the JWKS by outcome: succeeded (from the issuer), failed (issuer or copy unavailable).',
    labelNames: ['outcome'],
    registers,
  });
  // Exported as 0 from the start: otherwise `increase()` in an alert misses the first failure.
  for (const outcome of ['succeeded', 'failed']) fetches.inc({ outcome }, 0);
  let readAge = (): number => Number.POSITIVE_INFINITY;
  new Gauge({
    name: 'jwks_age_seconds',
    help: 'Seconds since the issuer returned the JWKS that verifies access tokens; +Inf before the first fetch.',
    registers,
    collect() {
      this.set(readAge());
    },
  });
  return {
    fetched: (outcome) => fetches.inc({ outcome }),
    age(read) {
      readAge = read;
    },
  };
}
