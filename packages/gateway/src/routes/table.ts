import { z } from 'zod';
import { partCacheSchema } from '../cache/cache-settings.ts';
import { quotaSchema } from '../limits/quota.ts';
import { ownEndpoints } from '../own-endpoints/own-endpoints.ts';
import { policies } from '../policies/policies.ts';
import { type PolicyList, policySchemas } from '../policies/route-policies.ts';

/** A path pattern: `{name}` matches one segment; a trailing `*` matches everything below. */
const pattern = z
  .string()
  .regex(
    /^(?=.)(\/([A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}))*(\/\*)?$/,
    'must be a path such as /api/things/{id}, or /api/things/* for all paths below it',
  );

/** A path template of an upstream request. */
const target = z
  .string()
  .regex(/^(\/([A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}))+$/, 'must be a path such as /api/things/{id}');

const regularExpression = z.string().refine((source) => {
  try {
    return new RegExp(source, 'u') instanceof RegExp;
  } catch {
    return false;
  }
}, 'must be a regular expression');

const milliseconds = z.int().min(1).max(86_400_000);

const upstreamName = z
  .string()
  .regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, 'must be lower-case words joined by hyphens')
  .describe('Name of an upstream. The environment variable <NAME>_SERVICE_URL sets its URL.');

const upstream = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
      .optional()
      .describe('URL when <NAME>_SERVICE_URL is not set. Without this key the variable is required.'),
    health: target
      .optional()
      .describe("Path of the service's health endpoint, included in /api/health; none by default."),
    host: z
      .enum(['upstream', 'caller'])
      .default('upstream')
      .describe(
        'Host header that the service gets: the host of its URL (upstream), or the one of the caller.',
      ),
    max_in_flight: z
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .describe(
        'Maximum concurrent calls, each counted until the end of its response; further calls get 503 at once. By default UPSTREAM_CONNECTIONS per address, so that calls do not wait for connections.',
      ),
    limit: quotaSchema
      .optional()
      .describe(
        'Rate limit of this service for all callers together; further requests get 429. No limit by default.',
      ),
  })
  .describe('A service behind the gateway.');

const limits = {
  timeout_ms: milliseconds
    .optional()
    .describe(
      'Maximum milliseconds from the end of the request to the response head; UPSTREAM_TIMEOUT_MS by default.',
    ),
  slow_ms: milliseconds
    .optional()
    .describe(
      'Milliseconds after which a disconnect of the caller counts as a failure of the upstream; half of timeout_ms by default.',
    ),
  idle_timeout_ms: milliseconds
    .optional()
    .describe('Maximum milliseconds between two chunks of a request or response body; 30,000 by default.'),
  total_timeout_ms: milliseconds
    .optional()
    .describe(
      'Maximum milliseconds from the request head to the end of the response; no limit by default, so that streams work.',
    ),
  body_limit_bytes: z
    .int()
    .min(0)
    .max(2 ** 40)
    .optional()
    .describe('Maximum size of a request body in bytes, also if it is chunked; 1 MiB by default.'),
  retries: z
    .int()
    .min(0)
    .max(5)
    .optional()
    .describe(
      'Maximum retries of a call that failed before the response head, on another address; 1 by default. The gateway retries idempotent methods and POST with an Idempotency-Key. The retry budget is 10 % of the traffic plus ten per second.',
    ),
};

const part = z
  .strictObject({
    upstream: upstreamName,
    path: target.describe(
      "Path of the request; {name} is replaced with the value from the aggregate's path.",
    ),
    required: z
      .boolean()
      .default(false)
      .describe(
        'Whether the aggregate fails when this part fails. Without an optional part the response is degraded.',
      ),
    timeout_ms: milliseconds
      .optional()
      .describe(
        'Maximum milliseconds of the call, within the deadline of the request; UPSTREAM_TIMEOUT_MS by default.',
      ),
    kept_statuses: z
      .array(z.literal([401, 403, 404, 429]))
      .default([401, 403, 404, 429])
      .describe(
        'Statuses of a required part that the aggregate returns as its own, with Retry-After and WWW-Authenticate. Other errors without a problem code become 502. All four by default.',
      ),
    cache: partCacheSchema,
  })
  .describe('One call that an aggregate makes.');

const member = z
  .strictObject({
    from: z
      .string()
      .regex(
        /^[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)*$/,
        'must be a part and a path into its response, such as user.data.id',
      )
      .describe('Name of a part, followed by the path of the value in its JSON response.'),
    missing: z
      .union([z.string(), z.number(), z.boolean(), z.null()])
      .default(null)
      .describe('Value of the member when the part is unavailable; null by default.'),
    omit_null: z.boolean().default(false).describe('Whether to omit the member when its value is null.'),
  })
  .describe('One member of the response.');

/** Creates the schemas of a route table, with the settings of these policies. */
export function createTableSchemas(list: PolicyList) {
  const route = z
    .strictObject({
      path: pattern.describe('Path with placeholders; literal segments take precedence over placeholders.'),
      methods: z
        .array(z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']))
        .min(1)
        .describe('Methods that are forwarded; GET includes HEAD. Other methods get 405.'),
      upstream: upstreamName,
      encoded_slashes: z
        .enum(['refuse', 'allow'])
        .default('refuse')
        .describe(
          'Whether %2F and %5C, also double-encoded, are forwarded as data within a segment. By default they get 400, because a service that decodes them before routing would see another path. Dot segments and %00 always get 400.',
        ),
      ...limits,
      ...policySchemas(list, 'routes'),
    })
    .describe('A path that is forwarded unchanged.');

  const aggregate = z
    .strictObject({
      path: target.describe('Path with placeholders; supports GET and HEAD.'),
      params: z
        .record(z.string(), regularExpression)
        .default({})
        .describe('Regular expressions that placeholder values must match completely; other values get 400.'),
      parts: z
        .record(z.string().regex(/^[a-z][a-z0-9_]*$/, 'must be a lower-case name'), part)
        .refine((parts) => Object.keys(parts).length > 0, 'must have at least one part')
        .describe('Calls to services by name; they run concurrently.'),
      answer: z.record(z.string(), member).describe('Members of `data` in the response.'),
      ...policySchemas(list, 'aggregates'),
    })
    .describe('A response composed from several services.');

  const table = z
    .strictObject({
      upstreams: z.record(upstreamName, upstream).describe('The services behind the gateway, by name.'),
      defaults: z
        .strictObject({ ...limits, ...policySchemas(list, 'routes') })
        .prefault({})
        .describe(
          'Default limits and policies of routes. The policies except the cache apply to aggregates too.',
        ),
      routes: z.array(route).describe('Forwarded paths.'),
      aggregates: z
        .array(aggregate)
        .default([])
        .describe('Endpoints that compose responses of several services.'),
      own: ownEndpoints,
    })
    .describe("The gateway's route table.");
  return { route, aggregate, table };
}

/** Schemas of the table, of an entry of `routes` and of an entry of `aggregates`. */
export type TableSchemas = ReturnType<typeof createTableSchemas>;

/** Schemas of the route table with all policies of the gateway. */
export const tableSchemas = createTableSchemas(policies);

/** A table that matches the schema. `findConflicts` checks the consistency of its entries. */
export type RouteTable = z.output<TableSchemas['table']>;

export type TableAggregate = RouteTable['aggregates'][number];

/** Returns the JSON Schema of the route table, which editors use for completion and validation. */
export function routeTableSchema({ table }: TableSchemas = tableSchemas): object {
  const { $schema, ...schema } = z.toJSONSchema(table, { io: 'input' });
  return { $schema, title: 'Route table of the zerda gateway', ...schema };
}
