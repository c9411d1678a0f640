import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { bundle } from '../../../scripts/lib/bundler.ts';
import { withOwnSecrets } from '../../../scripts/lib/own-secrets.ts';
import { freePorts } from '../../../scripts/lib/ports.ts';
import { type ServiceProcess, startProcess } from '../../../scripts/lib/service-process.ts';
import { planSystem, type ServiceName, type ServicePlan, services } from '../../../scripts/lib/services.ts';

/** One service of a running system, which a test may end and start again. */
export interface Service {
  readonly name: ServiceName;
  readonly url: string;
  readonly managementUrl: string;
  /** Every line of all its runs. */
  readonly output: readonly string[];
  /** Starts the process and waits until it is ready. Resolves with the milliseconds taken. */
  start(): Promise<number>;
  /** SIGTERM. Resolves with the exit code. */
  stop(): Promise<number>;
  /** SIGKILL. Resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGSTOP, and SIGCONT after so many milliseconds: the process stands still, as when its machine does. */
  pause(ms: number): Promise<void>;
}

export interface System {
  readonly users: Service;
  readonly orders: Service;
  readonly gateway: Service;
  readonly dataDir: string;
  /** Variables that make a command of scripts/ use the same ports and data. */
  readonly variables: NodeJS.ProcessEnv;
  /** Ends what runs and removes the data. */
  close(): Promise<void>;
}

/**
 * Bundles the services and prepares them, with the demo data, on free ports and a temporary data folder; nothing
 * runs yet.
 * @param env added to the environment of every service
 * @param own added to that of one service
 */
export async function prepareSystem(
  env: NodeJS.ProcessEnv = {},
  own: Partial<Record<ServiceName, NodeJS.ProcessEnv>> = {},
): Promise<System> {
  await bundle(services.map(({ name }) => name));
  const dataDir = await mkdtemp(join(tmpdir(), 'zerda-system-'));
  const ports = await freePorts(services.length * 2);
  const variables: NodeJS.ProcessEnv = { ZERDA_DATA_DIR: dataDir };
  services.forEach(({ variable }, index) => {
    variables[`ZERDA_${variable}_PORT`] = String(ports[index * 2]);
    variables[`ZERDA_${variable}_MANAGEMENT_PORT`] = String(ports[index * 2 + 1]);
  });
  const plan = planSystem(
    await withOwnSecrets({ ...process.env, LOG_LEVEL: 'warn', LOG_FORMAT: 'json', ...env, ...variables }),
  );
  const [users, orders, gateway] = plan.services.map((service) =>
    createService({ ...service, env: { ...service.env, ...own[service.name] } }),
  );
  if (!users || !orders || !gateway) throw new Error('the plan of the system has three services');
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

/** A prepared system, all of it started and ready. */
export async function startSystem(...options: Parameters<typeof prepareSystem>): Promise<System> {
  const system = await prepareSystem(...options);
  try {
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
    output,
    async start() {
      const begun = performance.now();
      const started = startProcess({ name, file, env, readyUrl: `${managementUrl}/readyz` }, (line) =>
        output.push(line),
      );
      current = started;
      await started.ready().catch((error: Error) => {
        throw new Error([error.message, ...started.lastLines].join('\n  '));
      });
      return performance.now() - begun;
    },
    async stop() {
      const stopping = current;
      current = undefined;
      return (await stopping?.stop()) ?? 0;
    },
    async kill() {
      const dying = current;
      current = undefined;
      dying?.kill('SIGKILL');
      await dying?.exited;
    },
    async pause(ms) {
      const paused = current;
      paused?.kill('SIGSTOP');
      await wait(ms);
      paused?.kill('SIGCONT');
    },
  };
}
