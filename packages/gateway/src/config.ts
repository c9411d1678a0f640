import { fileURLToPath } from 'node:url';
import { authVariables } from '@zerda/chassis/config/auth-variables';
import { commonVariables, upstreamUrl, upstreamVariables } from '@zerda/chassis/config/common-variables';
import { proxyVariables } from '@zerda/chassis/config/proxy-variables';
import { count, milliseconds } from '@zerda/chassis/config/values';
import { StartupError } from '@zerda/chassis/startup-error';
import { z } from 'zod';
import type { RouteTable } from './routes/table.ts';

/** The table of routes that comes with the gateway; bundles have it in the same place. */
export const standardRoutesFile = fileURLToPath(new URL('../routes.yaml', import.meta.url));

/** The gateway's environment variables, beside the address of each upstream. */
export const gatewayVariables = z.object({
  ...commonVariables({ port: 8000, managementPort: 9090 }),
  ROUTES_FILE: z
    .string()
    .optional()
    .describe('Table of routes, YAML or JSON; when not set, the one that comes with the gateway.'),
  ...proxyVariables(),
  VALKEY_URL: z
    .url({ protocol: /^rediss?$/, error: 'must be a redis:// or rediss:// URL' })
    .optional()
    .describe(
      'Valkey (or Redis) in which replicas count requests together for the limits of the table; when not set, each counts by itself.',
    ),
  RATE_LIMIT_FACTOR: count()
    .default(1)
    .describe('What every limit of the table of routes is multiplied by; 0 switches limits off.'),
  MAX_REQUESTS_IN_FLIGHT: count(1)
    .default(1000)
    .describe(
      'Requests in flight at most; more are refused with 503 at once, but for health and metrics. A request that waits for its client, to send the body or to take the response, does not count.',
    ),
  MAX_EVENT_LOOP_DELAY_MS: milliseconds(1)
    .default(1000)
    .describe(
      'Milliseconds that the event loop may be late; while it is later time after time, requests are answered 503. One delay alone, as of a machine that stood still, refuses none.',
    ),
  MIN_CLIENT_BYTES_PER_SECOND: count()
    .default(500)
    .describe(
      'Bytes a second that a client must send of a request body, or take of a response, on average of each 10 s; a slower one is disconnected. 0 is without such a rate.',
    ),
  MAX_SLOW_CLIENTS: count(1)
    .default(500)
    .describe(
      'Clients at most that take more than a second to send a request body, or to take the rest of a response, with up to 200 KiB of memory each; where there are more, the addresses with most of them lose those that have been slow for longest.',
    ),
  MAX_SLOW_CLIENTS_PER_ADDRESS: count(1)
    .default(100)
    .describe('How many of MAX_SLOW_CLIENTS may have one address (of IPv6 the /64).'),
  CACHE_MAX_BYTES: count(1, 2_000_000_000)
    .default(67_108_864)
    .describe('Bytes of answers that are kept at most, for routes with a cache.'),
  ...authVariables(),
  ...upstreamVariables(),
});

export type GatewayConfig = z.output<typeof gatewayVariables>;

/** The variable that says where an upstream is: USER_SERVICE_URL for `user-service`, BILLING_SERVICE_URL for `billing`. */
export function upstreamVariable(upstream: string): string {
  const name = upstream.replace(/-service$/, '').replaceAll('-', '_');
  return `${name.toUpperCase()}_SERVICE_URL`;
}

/** The environment variables with the addresses of a table's upstreams. */
export function upstreamUrlVariables({ upstreams }: RouteTable) {
  return z.object(
    Object.fromEntries(
      Object.entries(upstreams).map(([name, { url }]) => [upstreamVariable(name), upstreamUrl(name, url)]),
    ),
  );
}

/**
 * Where user-service is, which has the keys of access tokens unless AUTH_JWKS_URL says who has.
 * @throws StartupError (78) when tokens are required and nobody is known to have the keys
 */
export function identityUrl(
  { AUTH, AUTH_JWKS_URL }: Pick<GatewayConfig, 'AUTH' | 'AUTH_JWKS_URL'>,
  urls: Readonly<Record<string, string>>,
): string {
  const url = urls[upstreamVariable('user-service')];
  if (url === undefined && AUTH === 'required' && AUTH_JWKS_URL === undefined) {
    throw new StartupError(
      'Access tokens are required, and the table of routes has no user-service: set AUTH_JWKS_URL to where their keys are',
      78,
    );
  }
  return url ?? '';
}
