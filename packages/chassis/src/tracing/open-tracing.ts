import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import { createRepeatedWarning } from '../logging/repeated-warning.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { withTimeout } from '../with-timeout.ts';
import { createSampler } from './sampler.ts';
import type { Tracer } from './span.ts';
import { createTracingMetrics } from './tracing-metrics.ts';
import { exporterSettings, type TracingConfig } from './tracing-variables.ts';

export interface TracingOptions {
  /** Name of the service, unless OTEL_SERVICE_NAME is set. */
  readonly service: string;
  readonly version: string;
  readonly config: TracingConfig;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  readonly lifecycle: Pick<Lifecycle, 'onShutdown'>;
  readonly metrics: Pick<Metrics, 'registry'>;
}

/** Maximum milliseconds that shutdown waits for the last export. */
const shutdownMs = 1000;

/**
 * Starts tracing if an endpoint is configured, until shutdown. Returns undefined without one: nothing is loaded. Open it before the
 * servers, so that it closes after them.
 * @throws StartupError (78) if the variables contradict each other
 */
export async function openTracing({
  service,
  version,
  config,
  logger,
  lifecycle,
  metrics,
}: TracingOptions): Promise<Tracer | undefined> {
  const exporter = exporterSettings(config);
  if (exporter === undefined) return undefined;
  const counters = createTracingMetrics(metrics.registry);
  const warnOfFailure = createRepeatedWarning(logger, 'span export failed');
  const { createRecordingTracer } = await import('./recording-tracer.ts');
  const tracer = createRecordingTracer({
    exporter,
    sampler: createSampler(config.OTEL_TRACES_SAMPLER, config.OTEL_TRACES_SAMPLER_ARG ?? 1),
    resource: {
      ...config.OTEL_RESOURCE_ATTRIBUTES,
      'service.name':
        config.OTEL_SERVICE_NAME ?? config.OTEL_RESOURCE_ATTRIBUTES?.['service.name'] ?? service,
      'service.version': config.OTEL_RESOURCE_ATTRIBUTES?.['service.version'] ?? version,
    },
    maxQueued: config.OTEL_BSP_MAX_QUEUE_SIZE,
    delayMs: config.OTEL_BSP_SCHEDULE_DELAY,
    onExported: counters.exported,
    onDropped(reason, count, error) {
      counters.dropped(reason, count);
      if (error !== undefined) warnOfFailure({ reason: error.message });
    },
  });
  lifecycle.onShutdown('tracing', async () => {
    await withTimeout(
      tracer.shutdown().catch(() => undefined),
      shutdownMs,
      () => undefined,
    );
    if (tracer.pending > 0) logger.warn({ spans: tracer.pending }, 'spans not exported at shutdown');
  });
  logger.info({ endpoint: new URL(exporter.url).host }, 'tracing on');
  return tracer;
}
