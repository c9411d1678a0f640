import { isIPv6 } from 'node:net';
import pg from 'pg';
import type { z } from 'zod';
import type { databaseVariables } from '../config/common-variables.ts';
import { StartupError } from '../startup-error.ts';

type DatabaseUrlConfig = Partial<z.output<z.ZodObject<ReturnType<typeof databaseVariables>>>>;

/**
 * Returns the URL of PostgreSQL: DATABASE_URL, or a URL from DATABASE_HOST and its related variables, whose values may
 * contain any character. Returns undefined if neither is set.
 * @throws StartupError (78) if both are set or the driver rejects them; the message contains no secret
 */
export function databaseUrl(config: DatabaseUrlConfig): string | undefined {
  if (config.DATABASE_HOST === undefined) return requireValid(config.DATABASE_URL, 'DATABASE_URL');
  if (config.DATABASE_URL !== undefined) {
    throw new StartupError('DATABASE_URL and DATABASE_HOST are both set. Set only one of them', 78);
  }
  const user = encodeURIComponent(config.DATABASE_USER ?? '');
  const password =
    config.DATABASE_PASSWORD === undefined ? '' : `:${encodeURIComponent(config.DATABASE_PASSWORD)}`;
  const credentials = user === '' ? '' : `${user}${password}@`;
  const name = encodeURIComponent(config.DATABASE_NAME ?? '');
  const parameters = config.DATABASE_PARAMETERS === undefined ? '' : `?${config.DATABASE_PARAMETERS}`;
  const authority = `${credentials}${hostInUrl(config.DATABASE_HOST)}:${config.DATABASE_PORT ?? 5432}`;
  return requireValid(`postgres://${authority}/${name}${parameters}`, 'DATABASE_PARAMETERS');
}

/** A DNS name, a container name or an IPv4 address. */
const hostName = /^[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?\.?$/i;

/**
 * Returns the host in URL syntax: an IPv6 address in brackets, and the folder of a Unix socket percent-encoded like in
 * libpq.
 */
function hostInUrl(host: string): string {
  const address = /^\[(.+)\]$/.exec(host)?.[1] ?? host;
  if (isIPv6(address) && !address.includes('%')) return `[${address}]`;
  if (host.startsWith('/')) return encodeURIComponent(host);
  if (hostName.test(host)) return host;
  throw new StartupError(
    'DATABASE_HOST must be one host name, IP address or Unix socket folder. Set the port in DATABASE_PORT',
    78,
  );
}

/**
 * Does not repeat the message of the driver, which may contain the password; the path of an unreadable file may be
 * shown.
 */
function requireValid(url: string | undefined, variable: string): string | undefined {
  try {
    if (url !== undefined) new pg.Client({ connectionString: url });
    return url;
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    const reason =
      path === undefined
        ? 'is not a valid PostgreSQL connection string'
        : `refers to a file that cannot be read (${path}: ${code})`;
    throw new StartupError(`${variable} ${reason}`, 78);
  }
}
