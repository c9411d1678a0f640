import { openVerifier } from '@zerda/chassis/auth/open-verifier';
import { createStoredKeys } from '@zerda/chassis/auth/stored-keys';
import { openServiceDatabase } from '@zerda/chassis/database/service-database';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { listen } from '@zerda/chassis/http/server';
import { startKeyCleaner } from '@zerda/chassis/idempotency/clean-keys';
import { createIdempotency } from '@zerda/chassis/idempotency/idempotency';
import { logLevelCalls } from '@zerda/chassis/logging/log-level-call';
import { openTracing } from '@zerda/chassis/tracing/open-tracing';
import { openServiceEvents, openServiceSink } from '@zerda/events/service-events';
import { createApp } from './app.ts';
import type { SampleServiceProcess } from './config.ts';
import { databaseSchema } from './database-schema.ts';
import { userSubscriptions } from './events/user-subscriptions.ts';
import { createSampleItemStore } from './store/sample-item-store.ts';

/** Serves the API and processes events until the process stops. */
export async function serve(service: SampleServiceProcess): Promise<void> {
  const { config, logger, audit, metrics, lifecycle } = service;
  const { HOST: host, PORT: port, MANAGEMENT_PORT: managementPort } = config;
  const tracer = await openTracing(service);

  const sink = openServiceSink(service);
  const calls = new Map(logLevelCalls(service));
  const management = createManagementApp({ lifecycle, metrics, logger, events: sink?.listener, calls });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const plainDatabase = await openServiceDatabase({ ...service, ...databaseSchema });
  startKeyCleaner({ database: plainDatabase, lifecycle, logger });
  const database = await openServiceEvents({
    ...service,
    tracer,
    database: plainDatabase,
    sink,
    subscriptions: userSubscriptions,
  });

  const { authentication } = openVerifier({
    config,
    logger,
    userServiceUrl: config.USER_SERVICE_URL,
    store: createStoredKeys(plainDatabase),
    metrics,
  });
  const app = createApp({
    sampleItems: createSampleItemStore(database),
    idempotency: createIdempotency(database, logger),
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
