import type { Limiters } from './limiter.ts';
import { memoryLimiters } from './memory-limiters.ts';
import type { ValkeyLimitersOptions } from './valkey-limiters.ts';

/** Returns limiters that count in Valkey across all replicas, or in this process if `url` is undefined. */
export async function openLimiters(
  url: string | undefined,
  resources: Omit<ValkeyLimitersOptions, 'url'>,
): Promise<Limiters> {
  if (url === undefined) return memoryLimiters;
  const { createValkeyLimiters } = await import('./valkey-limiters.ts');
  return createValkeyLimiters({ ...resources, url });
}
