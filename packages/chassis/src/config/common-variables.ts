import { z } from 'zod';
import { count, flag, httpUrl, milliseconds, percentage, port } from './values.ts';

/** What differs between the services' common variables. */
export interface CommonDefaults {
  /** Default of PORT. */
  readonly port: number;
  /** Default of MANAGEMENT_PORT. */
  readonly managementPort: number;
}

/** The variables every service has. */
export function commonVariables(defaults: CommonDefaults) {
  return {
    NODE_ENV: z.string().optional().describe('`production` refuses what is for demonstration only.'),
    HOST: z
      .string()
      .optional()
      .describe('Address that both ports listen on; when not set, all of the machine, IPv4 and IPv6.'),
    PORT: port().default(defaults.port).describe('TCP port of the API; 0 takes a free one.'),
    MANAGEMENT_PORT: port()
      .default(defaults.managementPort)
      .describe('TCP port of `/livez`, `/readyz` and `/metrics`; 0 takes a free one.'),
    LOG_LEVEL: z
      .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
      .default('info')
      .describe('Least severe level that is logged.'),
    LOG_FORMAT: z
      .enum(['json', 'pretty'])
      .optional()
      .describe('`json` or `pretty`; when not set, pretty in a terminal and JSON elsewhere.'),
    LOG_SUBJECT: flag()
      .default(true)
      .describe(
        'Whether the line of a request in the log names the subject of the access token, the id of the user.',
      ),
    REQUEST_TIMEOUT_MS: milliseconds(1)
      .default(10_000)
      .describe('Milliseconds a request may take; a caller asks for less with `X-Request-Timeout-Ms`.'),
    DRAIN_MS: milliseconds()
      .default(0)
      .describe('Milliseconds to go on serving after SIGTERM, until load balancers have noticed.'),
    SHUTDOWN_DEADLINE_MS: milliseconds(1)
      .default(10_000)
      .describe('Milliseconds that closing everything may take after the drain; then the process ends.'),
  };
}

/** The variables of a service with a database. */
export function databaseVariables() {
  return {
    DATABASE_URL: z
      .url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' })
      .optional()
      .describe(
        'PostgreSQL to use; when neither it nor DATABASE_HOST is set, a database embedded in the process (for demonstration).',
      ),
    DATABASE_HOST: z
      .string()
      .optional()
      .describe(
        'Host of PostgreSQL, where its URL is given in parts: this one and those that follow. A name, an IPv4 or IPv6 address, or the folder of a Unix socket.',
      ),
    DATABASE_PORT: port().default(5432).describe('TCP port of PostgreSQL at DATABASE_HOST.'),
    DATABASE_NAME: z.string().optional().describe('Database at DATABASE_HOST.'),
    DATABASE_USER: z.string().optional().describe('User at DATABASE_HOST.'),
    DATABASE_PASSWORD: z.string().optional().describe('Password of DATABASE_USER, as it is.'),
    DATABASE_PARAMETERS: z
      .string()
      .optional()
      .describe('Parameters of the connection to DATABASE_HOST, such as `sslmode=verify-full`.'),
    DATA_DIR: z
      .string()
      .default('.data')
      .describe(
        'Folder of the embedded databases. The folder of the service in it gets mode 0700, and so does this one where nothing else is in it.',
      ),
    DATABASE_POOL_SIZE: count(1, 1000)
      .default(10)
      .describe(
        'Connections to PostgreSQL at most. Behind a pooler in session mode (the default of PgBouncer) those of all replicas together must not be more than the pooler has.',
      ),
    DATABASE_CONNECT_TIMEOUT_MS: milliseconds(1)
      .default(2000)
      .describe('Milliseconds to wait for a connection to PostgreSQL.'),
    DATABASE_STATEMENT_TIMEOUT_MS: milliseconds(1)
      .default(5000)
      .describe('Milliseconds a statement may take in PostgreSQL.'),
    DATABASE_PREPARED_STATEMENTS: flag()
      .default(false)
      .describe(
        'Has PostgreSQL parse each statement once a connection, which saves it a third of its work. Not behind a pooler that hands a connection from one client to another and does not keep track of them, such as PgBouncer before 1.21.',
      ),
    ALLOW_EMBEDDED_DATABASE: flag()
      .default(false)
      .describe('Allows the embedded database although NODE_ENV is `production`.'),
    MIGRATE_ON_START: flag()
      .default(true)
      .describe('Applies pending migrations at start; when false, the service ends if it finds any pending.'),
    DEMO_DATA: flag().default(false).describe('Loads the demo data, once for each database.'),
  };
}

/**
 * The variables of a service that calls others through circuit breakers.
 * @param defaults.timeoutMs default of UPSTREAM_TIMEOUT_MS, in milliseconds; 5000 unless given
 */
export function upstreamVariables({ timeoutMs = 5000 }: { readonly timeoutMs?: number } = {}) {
  return {
    UPSTREAM_TIMEOUT_MS: milliseconds(1)
      .default(timeoutMs)
      .describe('Milliseconds an upstream has to answer a call, within the deadline of the request.'),
    UPSTREAM_CONNECTIONS: count(1)
      .default(128)
      .describe('Connections to each address of an upstream at most.'),
    CIRCUIT_ERROR_PERCENT: percentage()
      .default(50)
      .describe('Share of failed calls, in percent, from which a circuit opens.'),
    CIRCUIT_VOLUME: count(1)
      .default(10)
      .describe('Calls within the window below which a circuit never opens.'),
    CIRCUIT_WINDOW_MS: milliseconds(100)
      .default(5000)
      .describe('Milliseconds of calls that a circuit judges by; not above CIRCUIT_RESET_MS.'),
    CIRCUIT_RESET_MS: milliseconds(100)
      .default(5000)
      .describe(
        'Milliseconds an open circuit waits at most before it lets a call through as a probe: a tenth of them at first, and a quarter of the time since it opened later.',
      ),
  };
}

/** What the variables of `upstreamVariables` mean to an upstream. */
export function upstreamSettings(config: z.output<z.ZodObject<ReturnType<typeof upstreamVariables>>>) {
  return {
    timeoutMs: config.UPSTREAM_TIMEOUT_MS,
    maxConnections: config.UPSTREAM_CONNECTIONS,
    circuit: {
      errorPercent: config.CIRCUIT_ERROR_PERCENT,
      volume: config.CIRCUIT_VOLUME,
      windowMs: config.CIRCUIT_WINDOW_MS,
      resetMs: config.CIRCUIT_RESET_MS,
    },
  };
}

/**
 * The variable that says where an upstream is.
 * @param defaultUrl where it is when the variable is not set; without one it must be
 */
export function upstreamUrl(upstream: string, defaultUrl: string | undefined) {
  const url = httpUrl();
  return (defaultUrl === undefined ? url : url.default(defaultUrl)).describe(
    `Base URL of ${upstream}; in a cluster the DNS name of its Service.`,
  );
}
