import type { z } from 'zod';
import { type AuditLog, createAuditLog } from '../audit/audit-log.ts';
import { rejectUnauthenticatedProduction, type UnauthenticatedModeConfig } from '../config/auth-variables.ts';
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
  /** Reserves standard output for the output of a command: only errors and audit lines are written, to standard error. */
  readonly quiet?: boolean;
}

/** The basic components of every service process. */
export interface ServiceProcess<Config> {
  readonly service: string;
  readonly version: string;
  readonly config: Config;
  readonly logger: Logger;
  /** The audit stream. Actions outside of requests are those of the service or, in a command, of an operator. */
  readonly audit: AuditLog;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
}

/**
 * Reads the environment and installs the signal handlers for a graceful shutdown.
 * @throws StartupError (78) if the environment is invalid, or if production would run without authentication
 */
export function openProcess<Shape extends CommonVariables>({
  service,
  version,
  variables,
  quiet = false,
}: OpenProcessOptions<Shape>): ServiceProcess<Readonly<z.output<z.ZodObject<Shape>>>> {
  const config = loadConfig(variables, process.env);
  rejectUnauthenticatedProduction(config as UnauthenticatedModeConfig);
  // TypeScript cannot infer the output of a generic shape.
  const common = config as unknown as z.output<z.ZodObject<CommonVariables>>;
  const logger = createLogger({
    service,
    level: common.LOG_LEVEL,
    format: common.LOG_FORMAT,
    ...(quiet && { level: 'error', destination: process.stderr }),
  });
  const lifecycle = createLifecycle({
    logger,
    drainMs: common.DRAIN_MS,
    deadlineMs: common.SHUTDOWN_DEADLINE_MS,
  });
  endOnSignals({ lifecycle, logger });
  const audit = createAuditLog(logger, quiet ? { type: 'operator' } : { type: 'service', id: service });
  const metrics = createMetrics({ service, version });
  return { service, version, config, logger, audit, metrics, lifecycle };
}
