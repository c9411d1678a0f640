import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';

/** The folder that holds package.json, packages/ and dist/. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

export type ServiceName = 'user-service' | 'order-service' | 'gateway';

interface ServiceEntry {
  readonly name: ServiceName;
  /** Middle of the variables that set this service alone: `ZERDA_<variable>_PORT`. */
  readonly variable: 'USER' | 'ORDER' | 'GATEWAY';
  readonly port: number;
  readonly managementPort: number;
  readonly hasDatabase: boolean;
  /** Service whose events it hears. */
  readonly hears?: ServiceName;
}

/** The three services with their default ports. */
export const services: readonly ServiceEntry[] = [
  { name: 'user-service', variable: 'USER', port: 8001, managementPort: 9091, hasDatabase: true },
  {
    name: 'order-service',
    variable: 'ORDER',
    port: 8002,
    managementPort: 9092,
    hasDatabase: true,
    hears: 'user-service',
  },
  { name: 'gateway', variable: 'GATEWAY', port: 8000, managementPort: 9090, hasDatabase: false },
];

/** A port that a service will listen on, and the variable that moves it. */
export interface PlannedPort {
  readonly service: ServiceName;
  readonly port: number;
  readonly variable: string;
}

/** Everything needed to run one service as a process. */
export interface ServicePlan {
  readonly name: ServiceName;
  /** Bundle to run. */
  readonly file: string;
  /** The whole environment of the process. */
  readonly env: NodeJS.ProcessEnv;
  readonly url: string;
  readonly managementUrl: string;
  readonly ports: readonly PlannedPort[];
  /** True when the service keeps its rows in a folder instead of PostgreSQL. */
  readonly embedded: boolean;
}

export interface SystemPlan {
  readonly host: string;
  /** Parent of the services' data folders, absolute. */
  readonly dataDir: string;
  readonly services: readonly ServicePlan[];
}

/** Where the bundle of a service is written; its migrations lie in `migrations/` beside the `bin/` folder. */
export function bundleFile(name: ServiceName, dist = join(root, 'dist')): string {
  return join(dist, name, 'bin', 'main.mjs');
}

/**
 * Turns the `ZERDA_*` variables into the environment of each service. Names of hosts and ports a service reads
 * itself (HOST, PORT, …) are overwritten, so that a PORT left in the shell does not move all three at once.
 * @throws StartupError when a port variable is not a port number.
 */
export function planSystem(env: NodeJS.ProcessEnv): SystemPlan {
  const host = env.ZERDA_HOST || '127.0.0.1';
  const dataDir = resolve(root, env.ZERDA_DATA_DIR || '.data');
  const planned = services.map((service) => ({
    service,
    port: plannedPort(env, service.name, `ZERDA_${service.variable}_PORT`, service.port),
    management: plannedPort(
      env,
      service.name,
      `ZERDA_${service.variable}_MANAGEMENT_PORT`,
      service.managementPort,
    ),
  }));
  // Whoever starts the services together makes the secret of their events; nobody else need know it.
  const secret = env.EVENT_SECRET || randomBytes(32).toString('hex');
  const upstreams = Object.fromEntries(
    planned.flatMap(({ service, port, management }) => [
      [`${service.variable}_SERVICE_URL`, httpUrl(host, port)],
      [`${service.variable}_SERVICE_MANAGEMENT_URL`, httpUrl(host, management)],
    ]),
  );

  const sinksOf = (name: ServiceName): string =>
    planned
      .filter(({ service }) => service.hears === name)
      .map(({ management }) => `${httpUrl(host, management)}/events`)
      .join(',');

  return {
    host,
    dataDir,
    services: planned.map(({ service, port, management }) => {
      const databaseUrl = (service.hasDatabase && env[`ZERDA_${service.variable}_DATABASE_URL`]) || '';
      return {
        name: service.name,
        file: bundleFile(service.name),
        url: httpUrl(host, port),
        managementUrl: httpUrl(host, management),
        ports: [port, management],
        embedded: service.hasDatabase && !databaseUrl,
        env: {
          ...withoutSecrets(env),
          HOST: host,
          PORT: String(port.port),
          MANAGEMENT_PORT: String(management.port),
          DATABASE_URL: databaseUrl,
          DATA_DIR: dataDir,
          DEMO_DATA: env.DEMO_DATA || 'true',
          // The specification's requests carry no token.
          AUTH: env.AUTH || 'off',
          AUTH_ISSUER: env.AUTH_ISSUER || upstreams.USER_SERVICE_URL,
          ...upstreams,
          ...(service.hasDatabase && { EVENT_SECRET: secret, EVENT_SINKS: sinksOf(service.name) }),
          ...(service.name === 'user-service' && { ...identityOf(env), ...trustOf(host) }),
        },
      };
    }),
  };
}

/** Secrets of the whole environment that some service has and others have not. */
function withoutSecrets({ EVENT_SECRET: _events, ...env }: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !identitySecrets.includes(name)));
}

/** What the service that logs users in has, and no other. */
function identityOf(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(identitySecrets.map((name) => [name, env[name]]));
}

/**
 * Makes user-service trust the gateway, which calls it from the address that all services listen on. The gateway is trusted by
 * address and not by number: where ZERDA_HOST opens the ports to other machines, those could make up addresses. Variables for proxies
 * in front of the gateway are not passed on, as the gateway sends services the client alone.
 */
function trustOf(host: string): NodeJS.ProcessEnv {
  const addresses = new Set(loopbackOf.values());
  if (isIP(host) !== 0 && !loopbackOf.has(host)) addresses.add(host);
  return { TRUSTED_PROXIES: [...addresses].join(','), TRUSTED_PROXY_HOPS: '' };
}

/** Hosts that mean every address of the machine, each with the loopback address of its family. */
const loopbackOf: ReadonlyMap<string, string> = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]);

const identitySecrets = [
  'AUTH_KEY_SECRET',
  'AUTH_KEY_SECRET_PREVIOUS',
  'AUTH_ADMIN_EMAIL',
  'AUTH_ADMIN_PASSWORD',
];

function plannedPort(
  env: NodeJS.ProcessEnv,
  service: ServiceName,
  variable: string,
  standard: number,
): PlannedPort {
  const text = env[variable] || String(standard);
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65535) {
    throw new StartupError(`${variable} must be a port number from 1 to 65535, not "${text}".`, 78);
  }
  return { service, port, variable };
}

/** A service that listens on every address is reached through the loopback one. */
function httpUrl(host: string, { port }: PlannedPort): string {
  const reachable = loopbackOf.get(host) ?? host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
