import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { freePorts } from '../../packages/chassis/testing/port.ts';
import { bundle } from '../../scripts/lib/bundler.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { bundleFile, type ServiceName, versionOf } from '../../scripts/lib/services.ts';
import type { RunningProxy } from './proxies.ts';

export interface RunningService extends RunningProxy {
  /** Returns the metrics in the Prometheus text format. */
  scrape(): Promise<string>;
}

/**
 * Bundles a service and starts it on a PostgreSQL database, with its migrations and without authentication.
 * @throws StartupError if the service does not become ready
 */
export async function startService(
  name: ServiceName,
  databaseUrl: string,
  env: NodeJS.ProcessEnv = {},
): Promise<RunningService> {
  await bundle([name]);
  const [port = 0, managementPort = 0] = await freePorts(2);
  const managementUrl = `http://127.0.0.1:${managementPort}`;
  const service = startProcess(
    {
      name,
      file: bundleFile(name),
      env: {
        ...process.env,
        ...env,
        AUTH: 'off',
        HOST: '127.0.0.1',
        PORT: String(port),
        MANAGEMENT_PORT: String(managementPort),
        LOG_LEVEL: 'info',
        LOG_FORMAT: 'json',
        DATABASE_URL: databaseUrl,
      },
      readyUrl: `${managementUrl}/readyz`,
      sourceMaps: false,
    },
    () => undefined,
  );
  await service.ready().catch(async (error) => {
    await service.stop();
    throw new StartupError(`${error.message}\n${service.lastLines.join('\n')}`);
  });
  return {
    name,
    version: versionOf(name),
    port,
    pid: service.pid ?? 0,
    scrape: async () => (await fetch(`${managementUrl}/metrics`)).text(),
    stop: service.stop,
  };
}
