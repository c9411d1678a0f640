import { createUpstream, type Upstream, type UpstreamOptions } from '@zerda/chassis/http-client/upstream';
import type { GatewayConfig } from './config.ts';

/** The services behind the gateway. */
export interface Upstreams {
  readonly users: Upstream;
  readonly orders: Upstream;
}

export function createUpstreams(
  config: GatewayConfig,
  resources: Pick<UpstreamOptions, 'metrics' | 'logger' | 'lifecycle'>,
): Upstreams {
  const create = (name: string, baseUrl: string): Upstream =>
    createUpstream({
      ...resources,
      name,
      baseUrl,
      timeoutMs: config.UPSTREAM_TIMEOUT_MS,
      maxConnections: config.UPSTREAM_CONNECTIONS,
      circuit: {
        errorPercent: config.CIRCUIT_ERROR_PERCENT,
        volume: config.CIRCUIT_VOLUME,
        windowMs: config.CIRCUIT_WINDOW_MS,
        resetMs: config.CIRCUIT_RESET_MS,
      },
    });
  return {
    users: create('user-service', config.USER_SERVICE_URL),
    orders: create('order-service', config.ORDER_SERVICE_URL),
  };
}
