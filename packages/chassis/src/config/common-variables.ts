import { z } from 'zod';
import { tracingVariables } from '../tracing/tracing-variables.ts';
import { count, flag, milliseconds, port, secret } from './values.ts';

/** Defaults that differ between services. */
export interface CommonDefaults {
  /** Default of PORT. */
  readonly port: number;
  /** Default of MANAGEMENT_PORT. */
  readonly managementPort: number;
}

/** Returns the variables that every service has. */
export function commonVariables(defaults: CommonDefaults) {
  return {
    NODE_ENV: z.string().optional().describe('`production` rejects settings that are for demos only.'),
    HOST: z
      .string()
      .optional()
      .describe(
        'Address that both ports listen on. If not set, all addresses of the machine, IPv4 and IPv6.',
      ),
    PORT: port().default(defaults.port).describe('TCP port of the API; 0 selects a free port.'),
    MANAGEMENT_PORT: port()
      .default(defaults.managementPort)
      .describe('TCP port of `/livez`, `/readyz` and `/metrics`; 0 selects a free port.'),
    MANAGEMENT_SECRET: secret()
      .optional()
      .describe(
        'Secret that signs management calls of operators, at least 32 characters: `logs level` changes the log level of a running process. Without it, these calls are disabled.',
      ),
    LOG_LEVEL: z
      .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
      .default('info')
      .describe('Minimum level of log lines. Lines of the audit stream are always written.'),
    LOG_FORMAT: z
      .enum(['json', 'pretty'])
      .optional()
      .describe('`json` or `pretty`. If not set, `pretty` in a terminal and `json` elsewhere.'),
    LOG_SUBJECT: flag()
      .default(true)
      .describe('Whether the request log includes the subject of the access token (the user id).'),
    REQUEST_TIMEOUT_MS: milliseconds(1)
      .default(10_000)
      .describe('Request timeout in milliseconds. Callers can shorten it with `X-Request-Timeout-Ms`.'),
    DRAIN_MS: milliseconds()
      .default(0)
      .describe('Milliseconds to keep serving after SIGTERM, until load balancers stop sending requests.'),
    SHUTDOWN_DEADLINE_MS: milliseconds(1)
      .default(10_000)
      .describe('Milliseconds that shutdown may take after the drain. Then the process exits.'),
    ...tracingVariables(),
  };
}

/** Returns the variables of a service with a database. */
export function databaseVariables() {
  return {
    DATABASE_URL: z
      .url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' })
      .optional()
      .describe(
        'URL of PostgreSQL. If neither it nor DATABASE_HOST is set, the service uses a database embedded in the process (for demos).',
      ),
    DATABASE_HOST: z
      .string()
      .optional()
      .describe(
        'Host of PostgreSQL, an alternative to DATABASE_URL together with the variables below. A name, an IPv4 or IPv6 address, or the directory of a Unix socket.',
      ),
    DATABASE_PORT: port().default(5432).describe('TCP port of PostgreSQL at DATABASE_HOST.'),
    DATABASE_NAME: z.string().optional().describe('Database at DATABASE_HOST.'),
    DATABASE_USER: z.string().optional().describe('User at DATABASE_HOST.'),
    DATABASE_PASSWORD: z.string().optional().describe('Password of DATABASE_USER, without URL encoding.'),
    DATABASE_PARAMETERS: z
      .string()
      .optional()
      .describe('Connection parameters for DATABASE_HOST, such as `sslmode=verify-full`.'),
    DATA_DIR: z
      .string()
      .default('.data')
      .describe(
        'Directory of the embedded databases. The subdirectory of the service gets mode 0700. So does this directory if it holds nothing else.',
      ),
    DATABASE_POOL_SIZE: count(1, 1000)
      .default(10)
      .describe(
        'Maximum number of connections to PostgreSQL. Behind a pooler in session mode (the default of PgBouncer), the total of all replicas must not exceed the size of the pool.',
      ),
    DATABASE_CONNECT_TIMEOUT_MS: milliseconds(1)
      .default(2000)
      .describe('Connect timeout of PostgreSQL in milliseconds.'),
    DATABASE_STATEMENT_TIMEOUT_MS: milliseconds(1)
      .default(5000)
      .describe('Statement timeout of PostgreSQL in milliseconds.'),
    DATABASE_PREPARED_STATEMENTS: flag()
      .default(false)
      .describe(
        'Uses prepared statements, which save PostgreSQL a third of its work. Leave it off behind a transaction pooler that does not track prepared statements, such as PgBouncer before 1.21.',
      ),
    ALLOW_EMBEDDED_DATABASE: flag()
      .default(false)
      .describe('Allows the embedded database with NODE_ENV=production.'),
    MIGRATE_ON_START: flag()
      .default(true)
      .describe('Applies pending migrations at startup. If false, the service exits if there are any.'),
    DEMO_DATA: flag().default(false).describe('Loads the demo data, once per database.'),
  };
}
