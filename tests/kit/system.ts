import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { freePorts } from '../../packages/chassis/testing/port.ts';
import { withGeneratedSecrets } from '../../scripts/lib/generated-secrets.ts';
import { type ServiceProcess, startProcess } from '../../scripts/lib/service-process.ts';
import { planSystem, type ServiceName, type ServicePlan, services } from '../../scripts/lib/services.ts';
import { bundleServices } from './bundle-services.ts';
import { writeDemoFolders } from './demo-folders.ts';

/** A service of the system, which a test can stop and start. */
export interface Service {
  readonly name: ServiceName;
  readonly url: string;
  readonly managementUrl: string;
  /** Process id; undefined while it does not run. */
  readonly pid: number | undefined;
  /** Output lines of all runs. */
  readonly output: readonly string[];
  /** Starts the process. Resolves with the milliseconds until it was ready. */
  start(): Promise<number>;
  /** Sends SIGTERM. Resolves with the exit code. */
  stop(): Promise<number>;
  /** Sends SIGKILL. Resolves when the process has ended. */
  kill(): Promise<void>;
  /** Sends SIGSTOP, and SIGCONT after `ms` milliseconds, like a suspended machine. */
  pause(ms: number): Promise<void>;
}

export interface System {
  readonly users: Service;
  readonly orders: Service;
  readonly gateway: Service;
  readonly dataDir: string;
  /** Environment variables with which a command of scripts/ uses the ports and data of this system. */
  readonly variables: NodeJS.ProcessEnv;
  /** Stops the services and removes the data. */
  close(): Promise<void>;
}

/**
 * Bundles the services and prepares them with free ports and an empty temporary data folder. Starts no service.
 * @param env variables to add to the environment of every service
 * @param envByService variables to add to the environment of single services
 */
export async function prepareSystem(
  env: NodeJS.ProcessEnv = {},
  envByService: Partial<Record<ServiceName, NodeJS.ProcessEnv>> = {},
): Promise<System> {
  await bundleServices();
  const dataDir = await mkdtemp(join(tmpdir(), 'zerda-system-'));
  const ports = await freePorts(services.length * 2);
  const variables: NodeJS.ProcessEnv = { ZERDA_DATA_DIR: dataDir };
  services.forEach(({ variable }, index) => {
    variables[`ZERDA_${variable}_PORT`] = String(ports[index * 2]);
    variables[`ZERDA_${variable}_MANAGEMENT_PORT`] = String(ports[index * 2 + 1]);
  });
  const plan = planSystem(
    await withGeneratedSecrets({
      ...process.env,
      LOG_LEVEL: 'warn',
      LOG_FORMAT: 'json',
      ...env,
      ...variables,
    }),
  );
  const [users, orders, gateway] = plan.services.map((service) =>
    createService({ ...service, env: { ...service.env, ...envByService[service.name] } }),
  );
  if (!users || !orders || !gateway) throw new Error('The plan of the system lacks a service');
  return {
    users,
    orders,
    gateway,
    dataDir,
    variables,
    async close() {
      await Promise.all([users, orders, gateway].map((service) => service.stop()));
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Prepares a system with the demo data, starts all services and resolves when they are ready. */
export async function startSystem(...options: Parameters<typeof prepareSystem>): Promise<System> {
  const system = await prepareSystem(...options);
  try {
    await writeDemoFolders(system.dataDir);
    await Promise.all([system.users.start(), system.orders.start(), system.gateway.start()]);
    return system;
  } catch (error) {
    await system.close();
    throw error;
  }
}

function createService({ name, file, env, url, managementUrl }: ServicePlan): Service {
  const output: string[] = [];
  let current: ServiceProcess | undefined;
  return {
    name,
    url,
    managementUrl,
    get pid() {
      return current?.pid;
    },
    output,
    async start() {
      const startedAt = performance.now();
      const started = startProcess({ name, file, env, readyUrl: `${managementUrl}/readyz` }, (line) =>
        output.push(line),
      );
      current = started;
      await started.ready().catch((error: Error) => {
        throw new Error([error.message, ...started.lastLines].join('\n  '));
      });
      return performance.now() - startedAt;
    },
    async stop() {
      const stopping = current;
      current = undefined;
      return (await stopping?.stop()) ?? 0;
    },
    async kill() {
      const killed = current;
      current = undefined;
      killed?.kill('SIGKILL');
      await killed?.exited;
    },
    async pause(ms) {
      const paused = current;
      paused?.kill('SIGSTOP');
      await wait(ms);
      paused?.kill('SIGCONT');
    },
  };
}
