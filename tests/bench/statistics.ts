/** The middle of some figures, with the lowest and the highest of them. */
export interface Spread {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** Figures that could not be had are left out; undefined when none is left. */
export function spread(figures: readonly (number | undefined)[]): Spread | undefined {
  const sorted = figures.filter((figure) => figure !== undefined).sort((a, b) => a - b);
  const lowest = sorted[0];
  const highest = sorted.at(-1);
  const above = sorted[Math.floor(sorted.length / 2)];
  const below = sorted[Math.ceil(sorted.length / 2) - 1];
  if (lowest === undefined || highest === undefined || above === undefined || below === undefined)
    return undefined;
  return { median: (below + above) / 2, lowest, highest };
}

/** The smallest figure that at least `percent` percent of them do not exceed; undefined when there is none. */
export function percentile(sorted: readonly number[], percent: number): number | undefined {
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)];
}

/** Whether memory stayed where it was. */
export interface Growth {
  /** The last minute divided by the second; the first one still fills caches and heaps. */
  readonly factor: number;
  readonly steady: boolean;
}

/** The most that the last minute may be of the second. */
const steadyFactor = 1.1;

/** Judges figures of memory, one a minute. @throws Error when there are fewer than three */
export function judgeGrowth(minutes: readonly number[]): Growth {
  const [, second, ...later] = minutes;
  const last = later.at(-1);
  if (second === undefined || last === undefined) throw new Error('growth shows after three minutes or more');
  const factor = last / second;
  return { factor, steady: factor <= steadyFactor };
}
