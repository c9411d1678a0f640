import { openVerifier } from '@zerda/chassis/auth/open-verifier';
import { loadConfig } from '@zerda/chassis/config/load-config';
import { trustedProxies } from '@zerda/chassis/config/proxy-variables';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { listen } from '@zerda/chassis/http/server';
import { logLevelCalls } from '@zerda/chassis/logging/log-level-call';
import { openTracing } from '@zerda/chassis/tracing/open-tracing';
import { createApp } from './app.ts';
import {
  defaultRoutesFile,
  type GatewayProcess,
  identityUrl,
  requireMeshHosts,
  upstreamUrlVariables,
  upstreamVariable,
} from './config.ts';
import { openLimiters } from './limits/open-limiters.ts';
import { createPolicyMetrics } from './metrics/policy-metrics.ts';
import { createBodyPacer } from './overload/body-pacer.ts';
import { createConnectionQueue, queueConnections } from './overload/connection-queue.ts';
import { createLoadMonitor } from './overload/load-monitor.ts';
import { createSlowClients } from './overload/slow-clients.ts';
import { readTable } from './routes/read-table.ts';
import { createUpstreams } from './upstreams/upstreams.ts';

/** Serves the API of the route table until the process stops. */
export async function serve(gateway: GatewayProcess): Promise<void> {
  const { config, logger, audit, metrics, lifecycle } = gateway;
  const { HOST: host, PORT: port, MANAGEMENT_PORT: managementPort } = config;
  const tracer = await openTracing(gateway);
  const table = await readTable(config.ROUTES_FILE ?? defaultRoutesFile);
  const urls = loadConfig(upstreamUrlVariables(table), process.env);
  requireMeshHosts(table, urls, config);
  const proxies = trustedProxies(config, logger);

  const calls = new Map(logLevelCalls(gateway));
  const management = createManagementApp({ lifecycle, metrics, logger, calls });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const upstreams = createUpstreams(table, urls, config, { metrics, logger, lifecycle });
  const { authentication } = openVerifier({
    config,
    logger,
    userServiceUrl: identityUrl(config, urls),
    // order-service stores a copy of the keys in its database.
    copyUrl: urls[upstreamVariable('order-service')],
    metrics,
  });
  const policyMetrics = createPolicyMetrics(metrics.registry);
  const load = createLoadMonitor({
    maxInFlight: config.MAX_REQUESTS_IN_FLIGHT,
    maxDelayMs: config.MAX_EVENT_LOOP_DELAY_MS,
  });
  lifecycle.onShutdown('load monitor', () => load.stop());
  const bodyPacer = createBodyPacer();
  const connectionQueue = createConnectionQueue({ onWaiting: () => bodyPacer.yieldToConnections() });
  const slowClients = createSlowClients({
    minBytesPerSecond: config.MIN_CLIENT_BYTES_PER_SECOND,
    max: config.MAX_SLOW_CLIENTS,
    maxPerAddress: config.MAX_SLOW_CLIENTS_PER_ADDRESS,
    metrics: policyMetrics,
    queue: connectionQueue,
  });
  lifecycle.onShutdown('slow clients', () => slowClients.stop());
  const limiters = await openLimiters(config.VALKEY_URL, {
    metrics: policyMetrics,
    logger,
    lifecycle,
  });
  const app = createApp({
    table,
    upstreams,
    logger,
    audit,
    metrics,
    policyMetrics,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    upstreamTimeoutMs: config.UPSTREAM_TIMEOUT_MS,
    clientAddressInLog: config.LOG_CLIENT_ADDRESS,
    subjectInLog: config.LOG_SUBJECT,
    trustedProxies: proxies,
    tracer,
    trustsTraces: config.TRUST_TRACE_CONTEXT,
    authentication,
    limiters,
    load,
    slowClients,
    bodyPacer,
    limitFactor: config.RATE_LIMIT_FACTOR,
    cacheBytes: config.CACHE_MAX_BYTES,
  });
  const { server } = await listen(app, {
    name: 'API',
    host,
    port,
    lifecycle,
    logger,
    metrics,
    handlesExpectations: true,
  });
  queueConnections(server, connectionQueue);
  lifecycle.markReady();
}
