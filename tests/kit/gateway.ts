import { freePorts } from '../../packages/chassis/testing/port.ts';
import { type ServiceProcess, startProcess } from '../../scripts/lib/service-process.ts';
import { bundleFile } from '../../scripts/lib/services.ts';

/** A gateway process without the other services. */
export interface GatewayProcess {
  readonly process: ServiceProcess;
  readonly port: number;
  readonly url: string;
  readonly managementUrl: string;
  /** Output lines so far. */
  readonly lines: readonly string[];
}

/**
 * Starts the bundled gateway on free ports of 127.0.0.1, without authentication. Does not wait until it is ready.
 * @param env further variables
 */
export async function startGateway(env: NodeJS.ProcessEnv): Promise<GatewayProcess> {
  const [port = 0, managementPort = 0] = await freePorts(2);
  const managementUrl = `http://127.0.0.1:${managementPort}`;
  const lines: string[] = [];
  const process = startProcess(
    {
      name: 'gateway',
      file: bundleFile('gateway'),
      env: {
        PATH: globalThis.process.env.PATH,
        ...env,
        HOST: '127.0.0.1',
        PORT: String(port),
        MANAGEMENT_PORT: String(managementPort),
        LOG_FORMAT: 'json',
        AUTH: 'off',
      },
      readyUrl: `${managementUrl}/readyz`,
    },
    (line) => lines.push(line),
  );
  return { process, port, url: `http://127.0.0.1:${port}`, managementUrl, lines };
}
