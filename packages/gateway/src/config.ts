import { fileURLToPath } from 'node:url';
import { commonVariables, upstreamUrl, upstreamVariables } from '@zerda/chassis/config/common-variables';
import { addressRanges } from '@zerda/chassis/config/values';
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
  TRUSTED_PROXIES: addressRanges()
    .optional()
    .describe(
      'Addresses or ranges (CIDR), joined by commas, whose `Forwarded` and `X-Forwarded-*` headers are believed; none when not set.',
    ),
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
