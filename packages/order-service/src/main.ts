import { loadConfig } from '@zerda/chassis/config/load-config';
import { openServiceDatabase } from '@zerda/chassis/database/service-database';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { listen } from '@zerda/chassis/http/server';
import { createUpstream } from '@zerda/chassis/http-client/upstream';
import { startKeyCleaner } from '@zerda/chassis/idempotency/clean-keys';
import { createLifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import { endOnSignals, runService } from '@zerda/chassis/lifecycle/run-service';
import { createLogger } from '@zerda/chassis/logging/logger';
import { createMetrics } from '@zerda/chassis/metrics/metrics';
import packageJson from '../package.json' with { type: 'json' };
import { createApp } from './app.ts';
import { orderServiceVariables } from './config.ts';
import { loadDemoOrders } from './demo-data.ts';
import { createHttpUserDirectory } from './http-user-directory.ts';
import { createOrderStore } from './store/order-store.ts';

const service = 'order-service';

await runService(service, async () => {
  const config = loadConfig(orderServiceVariables, process.env);
  const { HOST: host, PORT: port, MANAGEMENT_PORT: managementPort } = config;
  const logger = createLogger({ service, level: config.LOG_LEVEL, format: config.LOG_FORMAT });
  const metrics = createMetrics({ service, version: packageJson.version });
  const lifecycle = createLifecycle({
    logger,
    drainMs: config.DRAIN_MS,
    deadlineMs: config.SHUTDOWN_DEADLINE_MS,
  });
  endOnSignals({ lifecycle, logger });

  const management = createManagementApp({ lifecycle, metrics });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const database = await openServiceDatabase({
    ...{ service, config, logger, lifecycle, metrics },
    migrations: new URL('../migrations/', import.meta.url),
    demoData: loadDemoOrders,
  });
  startKeyCleaner({ database, lifecycle, logger });

  const userService = createUpstream({
    ...{ name: 'user-service', logger, lifecycle, metrics },
    baseUrl: config.USER_SERVICE_URL,
    timeoutMs: config.UPSTREAM_TIMEOUT_MS,
    maxConnections: config.UPSTREAM_CONNECTIONS,
    circuit: {
      errorPercent: config.CIRCUIT_ERROR_PERCENT,
      volume: config.CIRCUIT_VOLUME,
      windowMs: config.CIRCUIT_WINDOW_MS,
      resetMs: config.CIRCUIT_RESET_MS,
    },
  });

  const app = createApp({
    orders: createOrderStore(database),
    users: createHttpUserDirectory(userService),
    logger,
    metrics,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
  });
  await listen(app, { name: 'API', host, port, lifecycle, logger });
  lifecycle.markReady();
});
