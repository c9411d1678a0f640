import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { StartupError } from '../../../packages/chassis/src/startup-error.ts';
import { startPostgres } from '../../../packages/chassis/testing/postgres.ts';
import type { ServerProcess } from '../../../packages/chassis/testing/server.ts';
import { bundleFile, type ServiceName } from '../../../scripts/lib/services.ts';
import { type NatsWithUsers, startNatsWithUsers } from '../../kit/nats-with-users.ts';
import { type DatabaseName, withConnection } from './databases.ts';
import { type EventRecorder, startEventRecorder } from './event-recorder.ts';
import { orderInstruments, userInstruments } from './instruments.ts';
import { type Link, openLink } from './link.ts';
import { type Replica, startReplica } from './replica.ts';

export const transports = ['http', 'nats'] as const;

/** Transport of events. */
export type Transport = (typeof transports)[number];

/** The system as real processes, with two replicas of each service. Every connection between two of them uses a link. */
export interface TestSystem {
  readonly transport: Transport;
  /** URLs of the gateways, each through a link. */
  readonly gateways: readonly string[];
  readonly replicas: readonly Replica[];
  readonly links: readonly Link[];
  readonly databases: Readonly<Record<DatabaseName, ServerProcess>>;
  /** Undefined with HTTP. */
  readonly nats: NatsWithUsers | undefined;
  readonly recorder: EventRecorder;
  close(): Promise<void>;
}

/** Commits survive a kill of the server. A failure of the machine is not tested. */
const databaseSettings = ['synchronous_commit=on', 'max_connections=150'];

/** Environment of all services, with short timeouts so that a minute of faults has the effects of a day. */
const commonVariables = {
  NODE_ENV: 'production',
  HOST: '127.0.0.1',
  LOG_LEVEL: 'warn',
  LOG_FORMAT: 'json',
  AUTH: 'off',
  ALLOW_UNAUTHENTICATED: 'true',
  REQUEST_TIMEOUT_MS: '3000',
  UPSTREAM_TIMEOUT_MS: '2000',
  CIRCUIT_WINDOW_MS: '500',
  CIRCUIT_RESET_MS: '500',
  DATABASE_CONNECT_TIMEOUT_MS: '1000',
  DATABASE_STATEMENT_TIMEOUT_MS: '2000',
  EVENT_LEASE_MS: '1500',
  EVENT_MAX_FAILURES: '3',
};

export interface TestSystemOptions {
  readonly transport: Transport;
  /** Folder with the bundles to run. */
  readonly dist: string;
}

/**
 * Starts all processes and waits until they are ready.
 * @throws StartupError when PostgreSQL or nats-server is not installed
 */
export async function startTestSystem({ transport, dist }: TestSystemOptions): Promise<TestSystem> {
  const closes: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const closeOne of closes.splice(0).reverse()) await closeOne();
  };
  try {
    return { ...(await build({ transport, dist }, closes)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function build(
  { transport, dist }: TestSystemOptions,
  closes: (() => Promise<unknown>)[],
): Promise<Omit<TestSystem, 'close'>> {
  const ports = await lowPorts(15);
  const port = (): number => ports.pop() as number;
  const links: Link[] = [];
  const replicas: Replica[] = [];

  async function link(name: string, ...targets: number[]): Promise<number> {
    const opened = await openLink({ name, targets });
    links.push(opened);
    closes.push(() => opened.close());
    return opened.port;
  }

  async function postgres(): Promise<{ server: ServerProcess; port: number }> {
    const serverPort = port();
    const server = await startPostgres({ settings: databaseSettings, port: serverPort });
    if (server === undefined) throw new StartupError('PostgreSQL was not found. Install it.');
    closes.push(() => server.stop());
    return { server, port: serverPort };
  }

  const [users, orders] = await Promise.all([postgres(), postgres()]);
  const natsPort = port();
  const nats = transport === 'nats' ? await startNatsWithUsers(natsPort) : undefined;
  if (nats !== undefined) closes.push(() => nats.stop());
  const recorder = await startEventRecorder();
  closes.push(() => recorder.close());

  const secret = randomBytes(32).toString('hex');
  const pairOf = () => [0, 1].map((number) => ({ number, api: port(), management: port() }));
  const userPorts = pairOf();
  const orderPorts = pairOf();
  const gatewayPorts = pairOf();
  const userApis = userPorts.map(({ api }) => api);
  const orderApis = orderPorts.map(({ api }) => api);

  function start(
    service: ServiceName,
    { number, api, management }: { number: number; api: number; management: number },
    env: NodeJS.ProcessEnv,
  ): void {
    const replica = startReplica({
      name: `${service} ${number}`,
      file: bundleFile(service, dist),
      env: {
        PATH: process.env.PATH,
        ...commonVariables,
        PORT: `${api}`,
        MANAGEMENT_PORT: `${management}`,
        ...env,
      },
      readyUrl: `http://127.0.0.1:${management}/readyz`,
    });
    replicas.push(replica);
    closes.push(() => replica.stop());
  }

  /** Returns the event variables of a replica. Every replica has its own links. */
  async function eventVariables(
    service: 'user-service' | 'order-service',
    name: string,
    sinks: readonly (readonly [string, readonly number[]])[],
  ) {
    if (nats !== undefined) {
      return {
        EVENT_SECRET: secret,
        NATS_URL: `nats://127.0.0.1:${await link(`${name} to nats`, natsPort)}`,
        NATS_USER: service,
        NATS_PASSWORD: nats.passwordOf(service),
      };
    }
    const urls = await Promise.all(
      sinks.map(
        async ([to, targets]) => `http://127.0.0.1:${await link(`${name} to ${to}`, ...targets)}/events`,
      ),
    );
    return { EVENT_SECRET: secret, EVENT_SINKS: urls.join(',') };
  }
  const toRecorder = ['the event recorder', [recorder.port]] as const;

  for (const ports of userPorts) {
    const name = `user-service ${ports.number}`;
    start('user-service', ports, {
      DATABASE_URL: `postgres://postgres@127.0.0.1:${await link(`${name} to database`, users.port)}/postgres`,
      ...(await eventVariables('user-service', name, [
        ["order-service's sink", orderPorts.map(({ management }) => management)],
        toRecorder,
      ])),
    });
  }
  for (const ports of orderPorts) {
    const name = `order-service ${ports.number}`;
    start('order-service', ports, {
      DATABASE_URL: `postgres://postgres@127.0.0.1:${await link(`${name} to database`, orders.port)}/postgres`,
      USER_SERVICE_URL: `http://127.0.0.1:${await link(`${name} to user-service`, ...userApis)}`,
      ...(await eventVariables('order-service', name, [toRecorder])),
      UPSTREAM_TIMEOUT_MS: '1000',
    });
  }
  const gateways: string[] = [];
  for (const ports of gatewayPorts) {
    const name = `gateway ${ports.number}`;
    start('gateway', ports, {
      USER_SERVICE_URL: `http://127.0.0.1:${await link(`${name} to user-service`, ...userApis)}`,
      ORDER_SERVICE_URL: `http://127.0.0.1:${await link(`${name} to order-service`, ...orderApis)}`,
    });
    gateways.push(`http://127.0.0.1:${await link(`clients to ${name}`, ports.api)}`);
  }
  await Promise.all(replicas.map((replica) => replica.ready()));

  const databases = { users: users.server, orders: orders.server };
  await withConnection(databases.users, (connection) => connection.rows(userInstruments));
  await withConnection(databases.orders, (connection) => connection.rows(orderInstruments));
  return { transport, gateways, replicas, links, databases, nats, recorder };
}

/**
 * Returns free ports below the range of ephemeral ports, so that the port of a killed process is still free when it restarts.
 */
async function lowPorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = 12_000 + Math.floor(Math.random() * 18_000);
    const server = createServer().listen(port, '127.0.0.1');
    const free = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!free) continue;
    server.close();
    await once(server, 'close');
    if (!ports.includes(port)) ports.push(port);
  }
  return ports;
}
