import type { z } from 'zod';
import { type OpennessConfig, requireMeantOpenness } from '../config/auth-variables.ts';
import type { commonVariables } from '../config/common-variables.ts';
import { loadConfig } from '../config/load-config.ts';
import { createLogger, type Logger } from '../logging/logger.ts';
import { createMetrics, type Metrics } from '../metrics/metrics.ts';
import { createLifecycle, type Lifecycle } from './lifecycle.ts';
import { endOnSignals } from './run-service.ts';

type CommonVariables = ReturnType<typeof commonVariables>;

export interface OpenProcessOptions<Shape extends CommonVariables> {
  /** Name of the service, in logs and metrics. */
  readonly service: string;
  /** Version of the service, in metrics. */
  readonly version: string;
  /** The service's environment variables. */
  readonly variables: z.ZodObject<Shape>;
  /** Keeps standard output for what a command says; then only errors are logged, on standard error. */
  readonly quiet?: boolean;
}

/** What every process of a service has before it opens anything of its own. */
export interface ProcessBasics<Config> {
  readonly service: string;
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
}

/**
 * Reads the environment, and from here on ends the process in good order at a signal.
 * @throws StartupError (78) when the environment is not as the variables say, or leaves a process in production open to all
 */
export function openProcess<Shape extends CommonVariables>({
  service,
  version,
  variables,
  quiet = false,
}: OpenProcessOptions<Shape>): ProcessBasics<Readonly<z.output<z.ZodObject<Shape>>>> {
  const config = loadConfig(variables, process.env);
  requireMeantOpenness(config as OpennessConfig);
  // What a generic shape parses to is beyond the compiler.
  const common = config as unknown as z.output<z.ZodObject<CommonVariables>>;
  const logger = createLogger({
    ...{ service, level: common.LOG_LEVEL, format: common.LOG_FORMAT },
    ...(quiet && { level: 'error', destination: process.stderr }),
  });
  const lifecycle = createLifecycle({
    logger,
    drainMs: common.DRAIN_MS,
    deadlineMs: common.SHUTDOWN_DEADLINE_MS,
  });
  endOnSignals({ lifecycle, logger });
  return { service, config, logger, metrics: createMetrics({ service, version }), lifecycle };
}
