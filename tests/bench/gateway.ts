import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { freePorts } from '../../packages/chassis/testing/port.ts';
import gatewayPackage from '../../packages/gateway/package.json' with { type: 'json' };
import { bundle } from '../../scripts/lib/bundler.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { bundleFile } from '../../scripts/lib/services.ts';
import { bodyRoute } from './bodies.ts';
import type { ProxyOptions, RunningProxy } from './proxies.ts';

export interface RunningGateway extends RunningProxy {
  /** Number of access log lines so far for the route of the bodies. */
  logLines(): number;
  /** Returns the metrics in the Prometheus text format. */
  scrape(): Promise<string>;
}

export interface GatewayOptions {
  /** Base environment. Default: the environment of this process. */
  readonly env?: NodeJS.ProcessEnv;
  /** Path of the bundle to start. Default: a new bundle. */
  readonly file?: string | undefined;
  /** Receives each line of the log. */
  readonly onLine?: (line: string) => void;
  /** Port of order-service. Default: the upstream's, which serves both. */
  readonly orderServicePort?: number;
}

export const gatewayName = 'gateway';

/**
 * Bundles the gateway and starts it as in production. Ports, log settings and upstream URLs override `env`.
 * @throws StartupError if the gateway does not become ready
 */
export async function startGateway(
  { upstreamPort }: Pick<ProxyOptions, 'upstreamPort'>,
  { env = process.env, file, onLine, orderServicePort = upstreamPort }: GatewayOptions = {},
): Promise<RunningGateway> {
  if (file === undefined) await bundle(['gateway']);
  const [port = 0, managementPort = 0] = await freePorts(2);
  const managementUrl = `http://127.0.0.1:${managementPort}`;
  let logLines = 0;
  const gateway = startProcess(
    {
      name: gatewayName,
      file: file ?? bundleFile('gateway'),
      env: {
        // Clients have no tokens and share one address, so the rate limits must be too high to be reached.
        AUTH: 'off',
        ALLOW_UNAUTHENTICATED: 'true',
        RATE_LIMIT_FACTOR: '100000',
        ...env,
        NODE_ENV: 'production',
        HOST: '127.0.0.1',
        PORT: String(port),
        MANAGEMENT_PORT: String(managementPort),
        LOG_LEVEL: 'info',
        LOG_FORMAT: 'json',
        USER_SERVICE_URL: `http://127.0.0.1:${upstreamPort}`,
        ORDER_SERVICE_URL: `http://127.0.0.1:${orderServicePort}`,
      },
      readyUrl: `${managementUrl}/readyz`,
      sourceMaps: false,
    },
    (line) => {
      // Not parsed as JSON: this process shares the cores with the load generator.
      if (line.includes('"msg":"request"') && line.includes(`"route":"${bodyRoute}"`)) logLines += 1;
      onLine?.(line);
    },
  );
  await gateway.ready().catch(async (error) => {
    await gateway.stop();
    throw new StartupError(`${error.message}\n${gateway.lastLines.join('\n')}`);
  });
  return {
    name: gatewayName,
    version: gatewayPackage.version,
    port,
    pid: gateway.pid ?? 0,
    logLines: () => logLines,
    scrape: async () => (await fetch(`${managementUrl}/metrics`)).text(),
    stop: gateway.stop,
  };
}
