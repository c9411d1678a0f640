import { isIPv6 } from 'node:net';
import pg from 'pg';
import type { z } from 'zod';
import type { databaseVariables } from '../config/common-variables.ts';
import { StartupError } from '../startup-error.ts';

type Parts = Partial<z.output<z.ZodObject<ReturnType<typeof databaseVariables>>>>;

/**
 * Where PostgreSQL is: DATABASE_URL, or a URL made of DATABASE_HOST and the variables beside it, whose values may hold any
 * character. Undefined when neither is set.
 * @throws StartupError (78) when both are set, or when the driver cannot read them, without a word of what they hold
 */
export function databaseUrl(config: Parts): string | undefined {
  if (config.DATABASE_HOST === undefined) return readable(config.DATABASE_URL, 'DATABASE_URL');
  if (config.DATABASE_URL !== undefined) {
    throw new StartupError('DATABASE_URL and DATABASE_HOST are both set: set one of them', 78);
  }
  const user = encodeURIComponent(config.DATABASE_USER ?? '');
  const password =
    config.DATABASE_PASSWORD === undefined ? '' : `:${encodeURIComponent(config.DATABASE_PASSWORD)}`;
  const credentials = user === '' ? '' : `${user}${password}@`;
  const name = encodeURIComponent(config.DATABASE_NAME ?? '');
  const parameters = config.DATABASE_PARAMETERS === undefined ? '' : `?${config.DATABASE_PARAMETERS}`;
  const authority = `${credentials}${hostInUrl(config.DATABASE_HOST)}:${config.DATABASE_PORT ?? 5432}`;
  return readable(`postgres://${authority}/${name}${parameters}`, 'DATABASE_PARAMETERS');
}

/** A name in DNS, or as containers have it, or an IPv4 address. */
const hostName = /^[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?\.?$/i;

/** A host as it stands in a URL: an IPv6 address in brackets, the folder of a Unix socket encoded, as libpq has it. */
function hostInUrl(host: string): string {
  const address = /^\[(.+)\]$/.exec(host)?.[1] ?? host;
  if (isIPv6(address) && !address.includes('%')) return `[${address}]`;
  if (host.startsWith('/')) return encodeURIComponent(host);
  if (hostName.test(host)) return host;
  throw new StartupError(
    'DATABASE_HOST must be the name or address of one host, or the folder of a Unix socket; the port is DATABASE_PORT',
    78,
  );
}

/** What the driver says of a URL may hold its password; of a file that cannot be read it may be repeated. */
function readable(url: string | undefined, variable: string): string | undefined {
  try {
    if (url !== undefined) new pg.Client({ connectionString: url });
    return url;
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    const reason =
      path === undefined
        ? 'must be as the driver reads it'
        : `must name files that can be read (${path}: ${code})`;
    throw new StartupError(`${variable} ${reason}`, 78);
  }
}
