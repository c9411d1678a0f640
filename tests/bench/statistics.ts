/** Median, minimum and maximum of some values. */
export interface Spread {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** Returns the spread of the values. Undefined values are ignored; the result is undefined if there are no others. */
export function spread(values: readonly (number | undefined)[]): Spread | undefined {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  const lowest = sorted[0];
  const highest = sorted.at(-1);
  const above = sorted[Math.floor(sorted.length / 2)];
  const below = sorted[Math.ceil(sorted.length / 2) - 1];
  if (lowest === undefined || highest === undefined || above === undefined || below === undefined)
    return undefined;
  return { median: (below + above) / 2, lowest, highest };
}

/**
 * Returns a percentile by the nearest-rank method; undefined for an empty list.
 * @param sorted values in ascending order
 */
export function percentile(sorted: readonly number[], percent: number): number | undefined {
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)];
}

/** Returns the mean of the values and its standard error, which is the standard deviation divided by the root of their number. */
export function meanOf(values: readonly number[]): { readonly mean: number; readonly error: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, error: Math.sqrt(squares / (values.length - 1) / values.length) };
}

/** Growth of memory over a run. */
export interface Growth {
  /** Memory of the last minute divided by that of the second. In the first minute caches and heaps still fill. */
  readonly factor: number;
  readonly steady: boolean;
}

/** Maximum factor that counts as steady. */
const maxSteadyFactor = 1.1;

/**
 * Returns the growth between the second and the last minute.
 * @param minutes bytes of memory by minute
 * @throws Error if there are fewer than three minutes
 */
export function evaluateGrowth(minutes: readonly number[]): Growth {
  const [, second, ...later] = minutes;
  const last = later.at(-1);
  if (second === undefined || last === undefined)
    throw new Error('Memory growth needs values of at least three minutes');
  const factor = last / second;
  return { factor, steady: factor <= maxSteadyFactor };
}
