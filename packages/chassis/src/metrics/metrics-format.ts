import { Counter, type Metric, type OpenMetricsContentType, Registry } from 'prom-client';

/** Format of `/metrics`: the Prometheus text format, or OpenMetrics 1.0, which also has exemplars. */
export type MetricsFormat = 'text' | 'openmetrics';

/**
 * Returns the format that a client prefers by its `Accept` header. OpenMetrics is chosen only if the client names it and prefers it to
 * plain text, so that browsers and other clients get plain text.
 */
export function preferredFormat(accept: string | undefined): MetricsFormat {
  const ranges = (accept ?? '').toLowerCase().split(',').map(parseRange);
  const openMetrics = ranges.find(
    ({ type, version }) => type === 'application/openmetrics-text' && (version ?? '1.0.0') === '1.0.0',
  );
  const text = ['text/plain', 'text/*', '*/*']
    .map((type) => ranges.find((range) => range.type === type))
    .find((range) => range !== undefined);
  return (openMetrics?.quality ?? 0) > (text?.quality ?? 0) ? 'openmetrics' : 'text';
}

/** A media range of an `Accept` header. */
interface MediaRange {
  readonly type: string;
  readonly version: string | undefined;
  /** Preference from 0 to 1; 0 for an invalid one. */
  readonly quality: number;
}

function parseRange(text: string): MediaRange {
  const [type = '', ...rest] = text.split(';').map((part) => part.trim());
  const parameters = new Map(
    rest.map((parameter) => {
      const [name = '', value = ''] = parameter.split('=', 2);
      return [name, value.replace(/^"(.*)"$/, '$1')];
    }),
  );
  const quality = parameters.get('q') ?? '1';
  return {
    type,
    version: parameters.get('version'),
    quality: /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(quality) ? Number(quality) : 0,
  };
}

/** Returns the metrics of a registry in a format. */
export async function renderMetrics(
  registry: Registry,
  format: MetricsFormat,
): Promise<{ contentType: string; body: string }> {
  if (format === 'text') return { contentType: registry.contentType, body: await registry.metrics() };
  const renderer = new Registry<OpenMetricsContentType>();
  renderer.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  for (const { name } of registry.getMetricsAsArray()) {
    const metric = registry.getSingleMetric(name);
    if (metric !== undefined)
      renderer.registerMetric(metric instanceof Counter ? familyOf(metric, name) : metric);
  }
  return { contentType: renderer.contentType, body: await renderer.metrics() };
}

/**
 * Returns a counter under the name of its family, which in OpenMetrics lacks the suffix `_total` of its samples. The renderer would rename
 * the counter itself, also in plain text.
 */
function familyOf(counter: Counter, name: string): Metric {
  const family = name.replace(/_total$/, '');
  const view = {
    name: family,
    type: 'counter',
    get: async () => ({ ...(await counter.get()), name: family }),
  };
  return view as unknown as Metric;
}
