import type { Limiters } from './limiter.ts';
import { memoryLimiters } from './memory-limiters.ts';
import type { ValkeyLimitersOptions } from './valkey-limiters.ts';

/** Counts with all replicas in Valkey when there is a URL of one, else in this process. */
export async function openLimiters(
  url: string | undefined,
  resources: Omit<ValkeyLimitersOptions, 'url'>,
): Promise<Limiters> {
  if (url === undefined) return memoryLimiters;
  const { createValkeyLimiters } = await import('./valkey-limiters.ts');
  return createValkeyLimiters({ ...resources, url });
}
