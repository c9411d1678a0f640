import { registerKeyMetrics } from '../../../packages/chassis/src/auth/key-metrics.ts';
import { createMetrics } from '../../../packages/chassis/src/metrics/metrics.ts';
import { registerRuntimeMetrics } from '../../../packages/chassis/src/metrics/runtime-metrics.ts';
import { createTracingMetrics } from '../../../packages/chassis/src/tracing/tracing-metrics.ts';
import { eventMetrics } from '../../../packages/events/src/event-metrics.ts';
import { createPolicyMetrics } from '../../../packages/gateway/src/metrics/policy-metrics.ts';
import { registerKeyAge } from '../../../packages/user-service/src/identity/key-age.ts';
import { registerLoginMetrics } from '../../../packages/user-service/src/identity/login-metrics.ts';

/** Registers all metrics of the services in one registry. */
function registerAll() {
  const { registry } = createMetrics({ service: 'test', version: '0.0.0' });
  createPolicyMetrics(registry);
  eventMetrics(registry);
  registerKeyMetrics(registry);
  createTracingMetrics(registry);
  registerKeyAge(registry, { list: async () => [] });
  registerLoginMetrics(registry, { load: { running: 0, waiting: 0 }, capacity: 1 });
  return registry;
}

/** Returns the names of the metrics of the services, without the default metrics of prom-client. */
export function metricNames(): Set<string> {
  const runtime = createMetrics({ service: 'test', version: '0.0.0' }).registry;
  runtime.clear();
  registerRuntimeMetrics(runtime);
  const names = registerAll()
    .getMetricsAsArray()
    .map(({ name }) => name);
  return new Set(
    names.filter((name) => !/^(nodejs|process)_/.test(name) || runtime.getSingleMetric(name) !== undefined),
  );
}

/** Returns the names of the series of all metrics of the services. */
export async function seriesNames(): Promise<Set<string>> {
  const metrics = await registerAll().getMetricsAsJSON();
  return new Set(
    metrics.flatMap(({ name, type }) =>
      // The type is a string, other than the declared enumeration.
      ['histogram', 'summary'].includes(String(type))
        ? ['_bucket', '_count', '_sum'].map((suffix) => name + suffix)
        : [name],
    ),
  );
}
