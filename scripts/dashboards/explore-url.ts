/**
 * Returns a link to Grafana's Explore with a query, for the time range of the dashboard. Grafana replaces variables, such as `$job`.
 * @param source variable with the data source, such as `$traces`
 */
export function exploreUrl(source: string, query: Readonly<Record<string, unknown>>): string {
  const pane = {
    datasource: source,
    queries: [{ refId: 'A', ...query }],
    range: { from: '$__from', to: '$__to' },
  };
  // Grafana does not find variables whose dollar sign is encoded.
  const panes = encodeURIComponent(JSON.stringify({ a: pane })).replaceAll('%24', '$');
  return `/explore?schemaVersion=1&panes=${panes}`;
}
