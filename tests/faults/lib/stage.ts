import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { startPostgres, type TestPostgres } from '../../../packages/chassis/src/database/testing-postgres.ts';
import { StartupError } from '../../../packages/chassis/src/startup-error.ts';
import { bundleFile, type ServiceName } from '../../../scripts/lib/services.ts';
import { type NatsWithUsers, startNatsWithUsers } from '../../system/lib/nats-with-users.ts';
import { ask, type DatabaseName } from './databases.ts';
import { orderInstruments, userInstruments } from './instruments.ts';
import { type Link, openLink } from './link.ts';
import { type Replica, startReplica } from './replica.ts';
import { openWitness, type Witness } from './witness.ts';

export const transports = ['http', 'nats'] as const;

/** How events travel. */
export type Transport = (typeof transports)[number];

/** The whole system as real processes: two replicas of each service, every way between two of them a link that can be cut. */
export interface Stage {
  readonly transport: Transport;
  /** Where clients reach the gateways, each by a link. */
  readonly gateways: readonly string[];
  readonly replicas: readonly Replica[];
  readonly links: readonly Link[];
  readonly databases: Readonly<Record<DatabaseName, TestPostgres>>;
  /** Undefined where events travel by HTTP. */
  readonly nats: NatsWithUsers | undefined;
  readonly witness: Witness;
  close(): Promise<void>;
}

/** Commits survive a kill of the server; that they would survive one of the machine is not what is looked at here. */
const durable = ['synchronous_commit=on', 'max_connections=150'];

/** Short times, so that a minute of faults has the effects of a day. */
const hurried = {
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

export interface StageOptions {
  readonly transport: Transport;
  /** Folder with the bundles to run. */
  readonly dist: string;
}

/**
 * Starts everything, and waits until it is ready.
 * @throws StartupError where PostgreSQL or nats-server is not installed
 */
export async function openStage({ transport, dist }: StageOptions): Promise<Stage> {
  const closes: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of closes.splice(0).reverse()) await one();
  };
  try {
    return { ...(await build({ transport, dist }, closes)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function build(
  { transport, dist }: StageOptions,
  closes: (() => Promise<unknown>)[],
): Promise<Omit<Stage, 'close'>> {
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

  async function postgres(): Promise<{ server: TestPostgres; port: number }> {
    const own = port();
    const server = await startPostgres({ settings: durable, port: own });
    if (server === undefined) throw new StartupError('PostgreSQL is needed, and was not found.');
    closes.push(() => server.stop());
    return { server, port: own };
  }

  const [users, orders] = await Promise.all([postgres(), postgres()]);
  const natsPort = port();
  const nats = transport === 'nats' ? await startNatsWithUsers(natsPort) : undefined;
  if (transport === 'nats' && nats === undefined) {
    throw new StartupError('nats-server is needed, and was not found.');
  }
  if (nats !== undefined) closes.push(() => nats.stop());
  const witness = await openWitness();
  closes.push(() => witness.close());

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
      env: { PATH: process.env.PATH, ...hurried, PORT: `${api}`, MANAGEMENT_PORT: `${management}`, ...env },
      readyUrl: `http://127.0.0.1:${management}/readyz`,
    });
    replicas.push(replica);
    closes.push(() => replica.stop());
  }

  /** How a service sends and hears: every replica has links of its own. */
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
        NATS_PASSWORD: nats.passwords[service],
      };
    }
    const urls = await Promise.all(
      sinks.map(
        async ([to, targets]) => `http://127.0.0.1:${await link(`${name} to ${to}`, ...targets)}/events`,
      ),
    );
    return { EVENT_SECRET: secret, EVENT_SINKS: urls.join(',') };
  }
  const toWitness = ['the witness', [witness.port]] as const;

  for (const ports of userPorts) {
    const name = `user-service ${ports.number}`;
    start('user-service', ports, {
      DATABASE_URL: `postgres://postgres@127.0.0.1:${await link(`${name} to its database`, users.port)}/postgres`,
      ...(await eventVariables('user-service', name, [
        ["order-service's sink", orderPorts.map(({ management }) => management)],
        toWitness,
      ])),
    });
  }
  for (const ports of orderPorts) {
    const name = `order-service ${ports.number}`;
    start('order-service', ports, {
      DATABASE_URL: `postgres://postgres@127.0.0.1:${await link(`${name} to its database`, orders.port)}/postgres`,
      USER_SERVICE_URL: `http://127.0.0.1:${await link(`${name} to user-service`, ...userApis)}`,
      ...(await eventVariables('order-service', name, [toWitness])),
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
  await ask(databases.users, (connection) => connection.rows(userInstruments));
  await ask(databases.orders, (connection) => connection.rows(orderInstruments));
  return { transport, gateways, replicas, links, databases, nats, witness };
}

/**
 * Free ports below those that the system hands out for outgoing connections: one of a process that was killed must still be free when it
 * is started again.
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
