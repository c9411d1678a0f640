import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import gatewayPackage from '../../packages/gateway/package.json' with { type: 'json' };
import { bundle } from '../../scripts/lib/bundler.ts';
import { freePorts } from '../../scripts/lib/ports.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { bundleFile } from '../../scripts/lib/services.ts';
import { routeOfBodies } from './bodies.ts';
import type { RunningProxy, Surroundings } from './proxies.ts';

export interface RunningGateway extends RunningProxy {
  /** Lines of its log so far that are about a request for one of the bodies. */
  logLines(): number;
  /** What Prometheus would scrape. */
  scrape(): Promise<string>;
}

export interface GatewayOptions {
  /** Environment to add to; that of this process by default. */
  readonly env?: NodeJS.ProcessEnv;
  /** Receives each line of the log. */
  readonly onLine?: (line: string) => void;
}

export const gatewayName = 'gateway';

/** The gateway as it runs in production. Its environment may carry more variables, of those that have no value here. */
export async function startGateway(
  { upstreamPort }: Pick<Surroundings, 'upstreamPort'>,
  { env = process.env, onLine }: GatewayOptions = {},
): Promise<RunningGateway> {
  await bundle(['gateway']);
  const [port = 0, managementPort = 0] = await freePorts(2);
  const upstreamUrl = `http://127.0.0.1:${upstreamPort}`;
  const managementUrl = `http://127.0.0.1:${managementPort}`;
  let logLines = 0;
  const gateway = startProcess(
    {
      name: gatewayName,
      file: bundleFile('gateway'),
      env: {
        // Nobody here has a token, and all come from one address: limits are counted, and never reached.
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
        USER_SERVICE_URL: upstreamUrl,
        ORDER_SERVICE_URL: upstreamUrl,
      },
      readyUrl: `${managementUrl}/readyz`,
      sourceMaps: false,
    },
    (line) => {
      // Not parsed: this process shares a core with the load generator.
      if (line.includes('"msg":"request"') && line.includes(`"route":"${routeOfBodies}"`)) logLines += 1;
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
