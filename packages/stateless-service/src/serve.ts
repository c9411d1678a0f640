import { openVerifier } from '@zerda/chassis/auth/open-verifier';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { listen } from '@zerda/chassis/http/server';
import { logLevelCalls } from '@zerda/chassis/logging/log-level-call';
import { openTracing } from '@zerda/chassis/tracing/open-tracing';
import { createApp } from './app.ts';
import type { StatelessServiceProcess } from './config.ts';

/** Serves the API until the process stops. */
export async function serve(service: StatelessServiceProcess): Promise<void> {
  const { config, logger, audit, metrics, lifecycle } = service;
  const { HOST: host, PORT: port, MANAGEMENT_PORT: managementPort } = config;
  const tracer = await openTracing(service);

  const calls = new Map(logLevelCalls(service));
  const management = createManagementApp({ lifecycle, metrics, logger, calls });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const { authentication } = openVerifier({
    config,
    logger,
    userServiceUrl: config.USER_SERVICE_URL,
    metrics,
  });
  const app = createApp({
    unitPriceCents: config.UNIT_PRICE_CENTS,
    authentication,
    logger,
    audit,
    metrics,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    tracer,
    requestLog: { subjectInLog: config.LOG_SUBJECT },
  });
  await listen(app, { name: 'API', host, port, lifecycle, logger, metrics });
  lifecycle.markReady();
}
