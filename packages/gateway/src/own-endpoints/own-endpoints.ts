import { z } from 'zod';
import { limit } from '../policies/limit.ts';
import { shed } from '../policies/shed.ts';

/** Creates the schema of one kind of own endpoint with its defaults. */
function endpointSchema(
  requests: number,
  perSeconds: number,
  shedDefault: 'on' | 'off',
  description: string,
) {
  const quota = { requests, per_seconds: perSeconds };
  return z
    .strictObject({
      limit: limit.schema
        .default(quota)
        .describe(
          `Requests from one client address (IPv6: /64 prefix); further requests get 429. off sets no limit. Default: ${requests} in ${perSeconds} s.`,
        ),
      shed: shed.schema
        .default(shedDefault)
        .describe(
          `Whether requests are rejected with 503 while the gateway is overloaded. Default: ${shedDefault}.`,
        ),
    })
    .prefault({})
    .describe(description);
}

/** Schema of the section `own`: the endpoints that the gateway serves itself. Without it, the default limits apply. */
export const ownEndpoints = z
  .strictObject({
    documentation: endpointSchema(300, 60, 'on', 'The pages /docs and /problems, and /openapi.json.'),
    health: endpointSchema(600, 60, 'off', 'The endpoint /api/health for probes and load balancers.'),
    preflight: endpointSchema(
      5000,
      10,
      'on',
      'CORS preflight requests to all routes together. Browsers send one for each URL.',
    ),
    unmatched: endpointSchema(
      1000,
      60,
      'on',
      'Requests that match no route: unknown path (404), method not allowed (405) or malformed request (400).',
    ),
  })
  .prefault({})
  .describe(
    'Rate limits of the endpoints that the gateway serves itself, by client address. RATE_LIMIT_FACTOR multiplies them too.',
  );

export type OwnSettings = z.output<typeof ownEndpoints>;

/** A kind of endpoint that the gateway serves itself. */
export type OwnEndpoint = keyof OwnSettings;

/** Describes each own endpoint for the output of `npm run routes`: name and policies. */
export function describeOwnEndpoints(settings: OwnSettings): string[][] {
  return Object.entries(settings).map(([name, endpoint]) => [
    name,
    [limit.describe(endpoint.limit), shed.describe(endpoint.shed)]
      .filter((text) => text !== undefined)
      .join(', '),
  ]);
}
