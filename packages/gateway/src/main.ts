import { loadConfig } from '@zerda/chassis/config/load-config';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { listen } from '@zerda/chassis/http/server';
import { openProcess } from '@zerda/chassis/lifecycle/open-process';
import { runService } from '@zerda/chassis/lifecycle/run-service';
import packageJson from '../package.json' with { type: 'json' };
import { createApp } from './app.ts';
import { gatewayVariables, standardRoutesFile, upstreamUrlVariables } from './config.ts';
import { readTable } from './routes/read-table.ts';
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

  const management = createManagementApp({ lifecycle, metrics });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const upstreams = createUpstreams(table, urls, config, { metrics, logger, lifecycle });
  const app = createApp({
    ...{ table, upstreams, logger, metrics },
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    upstreamTimeoutMs: config.UPSTREAM_TIMEOUT_MS,
    trustedProxies: config.TRUSTED_PROXIES,
  });
  await listen(app, { name: 'API', host, port, lifecycle, logger, asksForBodies: true });
  lifecycle.markReady();
});
