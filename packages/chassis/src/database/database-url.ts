import type { z } from 'zod';
import type { databaseVariables } from '../config/common-variables.ts';
import { StartupError } from '../startup-error.ts';

type Parts = Partial<z.output<z.ZodObject<ReturnType<typeof databaseVariables>>>>;

/**
 * Where PostgreSQL is: DATABASE_URL, or a URL made of DATABASE_HOST and the variables beside it, whose values may hold any
 * character. Undefined when neither is set.
 * @throws StartupError (78) when both are set
 */
export function databaseUrl(config: Parts): string | undefined {
  if (config.DATABASE_HOST === undefined) return config.DATABASE_URL;
  if (config.DATABASE_URL !== undefined) {
    throw new StartupError('DATABASE_URL and DATABASE_HOST are both set: set one of them', 78);
  }
  const user = encodeURIComponent(config.DATABASE_USER ?? '');
  const password =
    config.DATABASE_PASSWORD === undefined ? '' : `:${encodeURIComponent(config.DATABASE_PASSWORD)}`;
  const credentials = user === '' ? '' : `${user}${password}@`;
  const name = encodeURIComponent(config.DATABASE_NAME ?? '');
  const parameters = config.DATABASE_PARAMETERS === undefined ? '' : `?${config.DATABASE_PARAMETERS}`;
  return `postgres://${credentials}${config.DATABASE_HOST}:${config.DATABASE_PORT ?? 5432}/${name}${parameters}`;
}
