/** Selector of the series of the release. */
export const release = 'namespace="$namespace"';

/** Selector of the series of the selected service. */
export const service = `${release},job="$job"`;

/** Selector of the series of the gateway. */
export const gateway = `${release},job="gateway"`;

/** Returns the rate of a counter, summed by labels. @param by labels separated by commas */
export function rate(by: string, metric: string, selector: string): string {
  return `sum by (${by}) (rate(${metric}{${selector}}[$__rate_interval]))`;
}

/** Returns a quantile of a histogram, by labels. @param metric name without `_bucket` */
export function quantile(q: number, by: string, metric: string, selector: string): string {
  return `histogram_quantile(${q}, ${rate(by === '' ? 'le' : `${by}, le`, `${metric}_bucket`, selector)})`;
}

/** Returns a ratio of two expressions, which is 0 if the first one has no series. */
export function share(part: string, whole: string): string {
  return `(${part} or 0 * ${whole}) / ${whole}`;
}
