import { openVerifier } from '@zerda/chassis/auth/open-verifier';
import { loadConfig } from '@zerda/chassis/config/load-config';
import { trustedProxies } from '@zerda/chassis/config/proxy-variables';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { listen } from '@zerda/chassis/http/server';
import { openProcess } from '@zerda/chassis/lifecycle/open-process';
import { runService } from '@zerda/chassis/lifecycle/run-service';
import packageJson from '../package.json' with { type: 'json' };
import { createApp } from './app.ts';
import {
  gatewayVariables,
  identityUrl,
  standardRoutesFile,
  upstreamUrlVariables,
  upstreamVariable,
} from './config.ts';
import { openLimiters } from './limits/open-limiters.ts';
import { createLoadMonitor } from './load-monitor.ts';
import { readTable } from './routes/read-table.ts';
import { createSlowClients } from './slow-clients.ts';
import { createUpstreams } from './upstreams.ts';

const service = 'gateway';

await runService(service, async () => {
  const { config, logger, metrics, lifecycle } = openProcess({
    ...{ service, version: packageJson.version },
    variables: gatewayVariables,
  });
  const { HOST: host, PORT: port, MANAGEMENT_PORT: managementPort } = config;
  const table = await readTable(config.ROUTES_FILE ?? standardRoutesFile);
  const urls = loadConfig(upstreamUrlVariables(table), process.env);
  const proxies = trustedProxies(config, logger);

  const management = createManagementApp({ lifecycle, metrics });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const upstreams = createUpstreams(table, urls, config, { metrics, logger, lifecycle });
  const { authentication } = openVerifier({
    ...{ config, logger, userServiceUrl: identityUrl(config, urls) },
    // order-service keeps a copy of the keys in its own database.
    copyUrl: urls[upstreamVariable('order-service')],
  });
  const load = createLoadMonitor({
    maxInFlight: config.MAX_REQUESTS_IN_FLIGHT,
    maxDelayMs: config.MAX_EVENT_LOOP_DELAY_MS,
  });
  lifecycle.onShutdown('load monitor', () => load.stop());
  const slowClients = createSlowClients({
    minBytesPerSecond: config.MIN_CLIENT_BYTES_PER_SECOND,
    max: config.MAX_SLOW_CLIENTS,
    maxPerAddress: config.MAX_SLOW_CLIENTS_PER_ADDRESS,
    metrics: metrics.policies,
  });
  lifecycle.onShutdown('slow clients', () => slowClients.stop());
  const limiters = await openLimiters(config.VALKEY_URL, {
    metrics: metrics.policies,
    ...{ logger, lifecycle },
  });
  const app = createApp({
    ...{ table, upstreams, logger, metrics },
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    upstreamTimeoutMs: config.UPSTREAM_TIMEOUT_MS,
    ...{ clientAddressInLog: config.LOG_CLIENT_ADDRESS, subjectInLog: config.LOG_SUBJECT },
    ...{ trustedProxies: proxies, authentication, limiters, load, slowClients },
    limitFactor: config.RATE_LIMIT_FACTOR,
    cacheBytes: config.CACHE_MAX_BYTES,
  });
  await listen(app, { name: 'API', host, port, lifecycle, logger, metrics, readsHeads: true });
  lifecycle.markReady();
});
