import { loadConfig } from '@zerda/chassis/config/load-config';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { listen } from '@zerda/chassis/http/server';
import { createLifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import { endOnSignals, runService } from '@zerda/chassis/lifecycle/run-service';
import { createLogger } from '@zerda/chassis/logging/logger';
import { createMetrics } from '@zerda/chassis/metrics/metrics';
import packageJson from '../package.json' with { type: 'json' };
import { createApp } from './app.ts';
import { gatewayVariables } from './config.ts';
import { createUpstreams } from './upstreams.ts';

const service = 'gateway';

await runService(service, async () => {
  const config = loadConfig(gatewayVariables, process.env);
  const logger = createLogger({ service, level: config.LOG_LEVEL, format: config.LOG_FORMAT });
  const metrics = createMetrics({ service, version: packageJson.version });
  const lifecycle = createLifecycle({
    logger,
    drainMs: config.DRAIN_MS,
    deadlineMs: config.SHUTDOWN_DEADLINE_MS,
  });
  endOnSignals({ lifecycle, logger });

  const management = createManagementApp({ lifecycle, metrics });
  await listen(management, {
    name: 'management',
    host: config.HOST,
    port: config.MANAGEMENT_PORT,
    lifecycle,
    logger,
  });
  const upstreams = createUpstreams(config, { metrics, logger, lifecycle });
  const app = createApp({ upstreams, logger, metrics, requestTimeoutMs: config.REQUEST_TIMEOUT_MS });
  await listen(app, { name: 'API', host: config.HOST, port: config.PORT, lifecycle, logger });
  lifecycle.markReady();
});
