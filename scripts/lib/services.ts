import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { localUrl, loopbackOf } from '../../packages/chassis/src/http/addresses.ts';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';

/** Root folder of the repository. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Name of a service: its folder in `packages/`. */
export type ServiceName = string;

/** What the rest of the repository must know about a service: the member `zerda` of its package.json. */
interface ServiceManifest {
  /** Default port of its API with `npm start`. */
  readonly port: number;
  /** Default port of its management server with `npm start`. */
  readonly managementPort: number;
  /** Whether it has a database. */
  readonly database: boolean;
  /** Services to whose events it subscribes. */
  readonly subscribesTo: readonly ServiceName[];
  /** Whether `npm run new-service` copies it and the system does not contain it; false by default. */
  readonly blueprint?: boolean;
}

export interface Service extends ServiceManifest {
  readonly name: ServiceName;
  /** Version in its package.json. */
  readonly version: string;
  /** Name part of its environment variables, as in `ZERDA_<variable>_PORT` and `<variable>_SERVICE_URL`. */
  readonly variable: string;
}

/** Services that the repository describes: those of the system, and blueprints. */
const described = readServices();

/** All services of the system, in the order in which they start: the gateway last, the others by their ports. */
export const services: readonly Service[] = described.filter(({ blueprint }) => !blueprint);

/** Services that `npm run new-service` copies. They are built and tested, but not part of the system. */
export const blueprints: readonly Service[] = described.filter(({ blueprint }) => blueprint);

/** Returns the version of a service. @throws TypeError if there is no such service */
export function versionOf(name: ServiceName): string {
  const service = services.find((candidate) => candidate.name === name);
  if (service === undefined) throw new TypeError(`${name} is not a service`);
  return service.version;
}

/** Returns these services, or all if `names` is empty, in the order of `services`. @throws StartupError (78) for an unknown name */
export function selectServices(names: readonly string[]): ServiceName[] {
  const all = services.map(({ name }) => name);
  const unknown = names.find((name) => !all.includes(name));
  if (unknown !== undefined)
    throw new StartupError(`Unknown service: ${unknown}. Use ${all.join(', ')}.`, 78);
  return all.filter((name) => names.length === 0 || names.includes(name));
}

function readServices(): Service[] {
  const packages = join(root, 'packages');
  return readdirSync(packages)
    .flatMap((name): Service[] => {
      const file = join(packages, name, 'package.json');
      // The folder of a removed package may still have ignored files.
      if (!existsSync(file)) return [];
      const { version, zerda } = JSON.parse(readFileSync(file, 'utf8')) as {
        readonly version: string;
        readonly zerda?: ServiceManifest;
      };
      return zerda === undefined ? [] : [{ ...zerda, name, version, variable: variableOf(name) }];
    })
    .sort((a, b) => Number(a.name === 'gateway') - Number(b.name === 'gateway') || a.port - b.port);
}

/** Returns the name part of a service's environment variables, as in `ZERDA_<variable>_PORT`. */
export function variableOf(name: ServiceName): string {
  return name
    .replace(/-service$/, '')
    .replaceAll('-', '_')
    .toUpperCase();
}

/** A port on which a service will listen, and the variable that sets it. */
export interface PlannedPort {
  readonly service: ServiceName;
  readonly port: number;
  readonly variable: string;
}

/** Settings of one service process. */
export interface ServicePlan {
  readonly name: ServiceName;
  /** Path of the bundle. */
  readonly file: string;
  /** Complete environment of the process. */
  readonly env: NodeJS.ProcessEnv;
  readonly url: string;
  readonly managementUrl: string;
  readonly ports: readonly PlannedPort[];
  /** Whether the service uses the embedded database instead of PostgreSQL. */
  readonly embedded: boolean;
}

export interface SystemPlan {
  readonly host: string;
  /** Absolute path of the folder that contains the data folders of the services. */
  readonly dataDir: string;
  readonly services: readonly ServicePlan[];
}

/** Returns the path of a service's bundle. Its assets, such as `migrations/`, are next to the `bin/` folder. */
export function bundleFile(name: ServiceName, dist = join(root, 'dist')): string {
  return join(dist, name, 'bin', 'main.mjs');
}

/**
 * Converts the `ZERDA_*` variables to the environment of each service. It overwrites HOST, PORT and MANAGEMENT_PORT, so that
 * a PORT in the shell does not apply to all services.
 * @throws StartupError (78) when a port variable is not a port number
 */
export function planSystem(env: NodeJS.ProcessEnv): SystemPlan {
  const host = env.ZERDA_HOST || '127.0.0.1';
  const dataDir = resolve(root, env.ZERDA_DATA_DIR || '.data');
  const plannedServices = services.map((service) => ({
    service,
    port: plannedPort(env, service.name, `ZERDA_${service.variable}_PORT`, service.port),
    management: plannedPort(
      env,
      service.name,
      `ZERDA_${service.variable}_MANAGEMENT_PORT`,
      service.managementPort,
    ),
  }));
  // The services of one run share a secret for their events, generated if it is not set.
  const secret = env.EVENT_SECRET || randomBytes(32).toString('hex');
  const upstreams = Object.fromEntries(
    plannedServices.flatMap(({ service, port, management }) => [
      [`${service.variable}_SERVICE_URL`, localUrl(host, port.port)],
      [`${service.variable}_SERVICE_MANAGEMENT_URL`, localUrl(host, management.port)],
    ]),
  );

  const sinksOf = (name: ServiceName): string =>
    plannedServices
      .filter(({ service }) => service.subscribesTo.includes(name))
      .map(({ management }) => `${localUrl(host, management.port)}/events`)
      .join(',');

  return {
    host,
    dataDir,
    services: plannedServices.map(({ service, port, management }) => {
      const databaseUrl = (service.database && env[`ZERDA_${service.variable}_DATABASE_URL`]) || '';
      return {
        name: service.name,
        file: bundleFile(service.name),
        url: localUrl(host, port.port),
        managementUrl: localUrl(host, management.port),
        ports: [port, management],
        embedded: service.database && !databaseUrl,
        env: {
          ...withoutSecrets(env),
          HOST: host,
          PORT: String(port.port),
          MANAGEMENT_PORT: String(management.port),
          DATABASE_URL: databaseUrl,
          DATA_DIR: dataDir,
          DEMO_DATA: env.DEMO_DATA || 'true',
          // The requests of the specification have no token.
          AUTH: env.AUTH || 'off',
          AUTH_ISSUER: env.AUTH_ISSUER || upstreams.USER_SERVICE_URL,
          ...upstreams,
          ...(service.database && { EVENT_SECRET: secret, EVENT_SINKS: sinksOf(service.name) }),
          ...(service.name === 'user-service' && { ...identityVariables(env), ...proxyTrust(host) }),
        },
      };
    }),
  };
}

/** Removes the secrets that only some services get. */
function withoutSecrets({ EVENT_SECRET: _events, ...env }: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !identitySecrets.includes(name)));
}

/** Returns the secrets of user-service, which no other service gets. */
function identityVariables(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(identitySecrets.map((name) => [name, env[name]]));
}

/**
 * Returns variables that make user-service trust the gateway by its address. Trust by hop count would let other machines
 * forge client addresses when ZERDA_HOST exposes the ports. The variables for proxies in front of the gateway are replaced,
 * because the gateway sends services only the client address.
 */
function proxyTrust(host: string): NodeJS.ProcessEnv {
  const addresses = new Set(loopbackOf.values());
  if (isIP(host) !== 0 && !loopbackOf.has(host)) addresses.add(host);
  return { TRUSTED_PROXIES: [...addresses].join(','), TRUSTED_PROXY_HOPS: '' };
}

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
  defaultPort: number,
): PlannedPort {
  const text = env[variable] || String(defaultPort);
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65535) {
    throw new StartupError(`${variable} must be a port number from 1 to 65535, not "${text}".`, 78);
  }
  return { service, port, variable };
}
