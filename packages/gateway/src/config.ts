import { fileURLToPath } from 'node:url';
import { authVariables } from '@zerda/chassis/config/auth-variables';
import { commonVariables } from '@zerda/chassis/config/common-variables';
import { proxyVariables } from '@zerda/chassis/config/proxy-variables';
import { count, flag, milliseconds } from '@zerda/chassis/config/values';
import type { ServiceProcess } from '@zerda/chassis/lifecycle/open-process';
import { StartupError } from '@zerda/chassis/startup-error';
import { upstreamUrl, upstreamVariables } from '@zerda/upstream/upstream-variables';
import { z } from 'zod';
import type { RouteTable } from './routes/table.ts';

/** Path of the route table that ships with the gateway. The path is the same in bundles. */
export const defaultRoutesFile = fileURLToPath(new URL('../routes.yaml', import.meta.url));

/** The gateway's environment variables, except the URLs of the upstreams. */
export const variables = z.object({
  ...commonVariables({ port: 8000, managementPort: 9090 }),
  ROUTES_FILE: z
    .string()
    .optional()
    .describe('Path of the route table, YAML or JSON; when not set, the table that ships with the gateway.'),
  ...proxyVariables(),
  TRUST_TRACE_CONTEXT: flag()
    .default(false)
    .describe(
      'Whether requests continue the trace of their `traceparent` header, with its sampling decision and `tracestate`. By default the gateway starts a trace for each request and records that of the client as a link. Set it only if all clients are trusted.',
    ),
  SERVICE_MESH: z
    .enum(['none', 'istio'])
    .default('none')
    .describe(
      'Service mesh whose proxies forward the calls of the gateway. Those of Istio choose the service by the `Host` header, so upstreams with `host: caller` and an http:// URL are rejected at startup.',
    ),
  VALKEY_URL: z
    .url({ protocol: /^rediss?$/, error: 'must be a redis:// or rediss:// URL' })
    .optional()
    .describe(
      'URL of the Valkey (or Redis) server in which replicas share rate limit counters; when not set, each replica counts separately.',
    ),
  RATE_LIMIT_FACTOR: count()
    .default(1)
    .describe('Factor applied to every limit of the route table; 0 disables limits.'),
  MAX_REQUESTS_IN_FLIGHT: count(1)
    .default(1000)
    .describe(
      'Maximum requests in flight; further requests get 503 at once, except health and metrics. Requests that wait for the client to send the body or to read the response do not count.',
    ),
  MAX_EVENT_LOOP_DELAY_MS: milliseconds(1)
    .default(1000)
    .describe(
      'Milliseconds of event loop delay that count as overload. While the delay stays above this value, requests get 503. A single delay, such as a pause of the machine, rejects no requests.',
    ),
  MIN_CLIENT_BYTES_PER_SECOND: count()
    .default(500)
    .describe(
      'Minimum transfer rate of a client in bytes per second, for request bodies and for responses, averaged over 10 s. The gateway disconnects slower clients. 0 disables the check.',
    ),
  MAX_SLOW_CLIENTS: count(1)
    .default(500)
    .describe(
      'Maximum slow clients. A client is slow after more than one second of sending a request body or reading the rest of a response, and uses up to 200 KiB of memory. Above the maximum, the gateway disconnects the longest-waiting clients of the addresses with the most slow clients.',
    ),
  MAX_SLOW_CLIENTS_PER_ADDRESS: count(1)
    .default(100)
    .describe('Maximum slow clients from one client address (for IPv6, one /64 network).'),
  CACHE_MAX_BYTES: count(1, 2_000_000_000)
    .default(67_108_864)
    .describe('Maximum size of the response cache in bytes, shared by all routes with a cache.'),
  ...authVariables(),
  ...upstreamVariables(),
});

export type GatewayConfig = z.output<typeof variables>;

/** The process of the gateway: its configuration, logger, metrics and lifecycle. */
export type GatewayProcess = ServiceProcess<Readonly<GatewayConfig>>;

/**
 * Returns the name of the environment variable with the URL of an upstream: USER_SERVICE_URL for `user-service`,
 * BILLING_SERVICE_URL for `billing`.
 */
export function upstreamVariable(upstream: string): string {
  const name = upstream.replace(/-service$/, '').replaceAll('-', '_');
  return `${name.toUpperCase()}_SERVICE_URL`;
}

/** Returns the schema of the environment variables with the URLs of a route table's upstreams. */
export function upstreamUrlVariables({ upstreams }: RouteTable) {
  return z.object(
    Object.fromEntries(
      Object.entries(upstreams).map(([name, { url }]) => [upstreamVariable(name), upstreamUrl(name, url)]),
    ),
  );
}

/**
 * Verifies that a service mesh can forward the calls of the gateway.
 * @throws StartupError (78) that names the upstreams whose calls would reach the service in the client's `Host` header, or none
 */
export function requireMeshHosts(
  { upstreams }: RouteTable,
  urls: Readonly<Record<string, string>>,
  { SERVICE_MESH }: Pick<GatewayConfig, 'SERVICE_MESH'>,
): void {
  if (SERVICE_MESH === 'none') return;
  const names = Object.entries(upstreams)
    .filter(([name, { host }]) => host === 'caller' && urls[upstreamVariable(name)]?.startsWith('http:'))
    .map(([name]) => name);
  if (names.length === 0) return;
  throw new StartupError(
    `The proxies of Istio choose a service by the Host header, but \`host: caller\` sends the client's to: ${names.join(', ')}. Remove it from these upstreams. Services read the client's host from X-Forwarded-Host.`,
    78,
  );
}

/**
 * Returns the URL of user-service, which serves the keys of access tokens unless AUTH_JWKS_URL is set.
 * @throws StartupError (78) when authentication is required and neither URL is configured
 */
export function identityUrl(
  { AUTH, AUTH_JWKS_URL }: Pick<GatewayConfig, 'AUTH' | 'AUTH_JWKS_URL'>,
  urls: Readonly<Record<string, string>>,
): string {
  const url = urls[upstreamVariable('user-service')];
  if (url === undefined && AUTH === 'required' && AUTH_JWKS_URL === undefined) {
    throw new StartupError(
      'Authentication is required, but the route table has no user-service. Set AUTH_JWKS_URL to the JWKS of the identity provider.',
      78,
    );
  }
  return url ?? '';
}
