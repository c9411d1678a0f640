import { createUpstream, type Upstream } from '@zerda/upstream/upstream';
import { upstreamSettings } from '@zerda/upstream/upstream-variables';
import type { OrderServiceProcess } from '../config.ts';

/** Opens the client of user-service at the URL of its API or of its management port. */
export function openUserService(
  { config, logger, lifecycle, metrics }: OrderServiceProcess,
  baseUrl: string,
): Upstream {
  return createUpstream({
    name: 'user-service',
    baseUrl,
    logger,
    lifecycle,
    metrics,
    ...upstreamSettings(config),
  });
}
