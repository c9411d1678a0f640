import { z } from 'zod';
import { partCacheKey } from '../policies/cache.ts';
import { quota } from '../policies/limit.ts';
import { ownEndpoints } from '../policies/own-endpoints.ts';
import { policyKeys, sharedPolicyKeys } from '../policies/policies.ts';

/** A path of which each `{name}` stands for one segment; a last segment `*` stands for everything below. */
const pattern = z
  .string()
  .regex(
    /^(?=.)(\/([A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}))*(\/\*)?$/,
    'must be a path such as /api/things/{id}, or /api/things/* for all below it',
  );

/** A path to ask an upstream for. */
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
  .describe('Name of an upstream; its address is in the environment variable made of it.');

const upstream = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
      .optional()
      .describe('Address when <NAME>_SERVICE_URL is not set; without it the variable must be.'),
    health: target
      .optional()
      .describe('Path that answers how the service is, shown by /api/health; none by default.'),
    host: z
      .enum(['upstream', 'caller'])
      .default('upstream')
      .describe("Host header the service gets: that of its own address, or the caller's."),
    max_in_flight: z
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .describe(
        'Calls at a time at most, counted to the end of the answer; the next one gets 503 at once. By default UPSTREAM_CONNECTIONS for each address: a call that had to wait for a connection would spend its time on that.',
      ),
    limit: quota
      .optional()
      .describe(
        'Requests to this service by all callers together; more are answered 429. Without a limit by default.',
      ),
  })
  .describe('A service behind the gateway.');

const limits = {
  timeout_ms: milliseconds
    .optional()
    .describe(
      'Milliseconds from the end of a request to the head of its answer; UPSTREAM_TIMEOUT_MS by default.',
    ),
  slow_ms: milliseconds
    .optional()
    .describe(
      'Milliseconds after which a caller who gives up counts as a failure of the upstream; half of timeout_ms by default.',
    ),
  idle_timeout_ms: milliseconds
    .optional()
    .describe('Milliseconds between two pieces of a body, of either side; 30,000 by default.'),
  total_timeout_ms: milliseconds
    .optional()
    .describe(
      'Milliseconds from the head of the request to the end of the answer; without a limit by default, as streams need it.',
    ),
  body_limit_bytes: z
    .int()
    .min(0)
    .max(2 ** 40)
    .optional()
    .describe('Bytes of a request body at most, also of a chunked one; 1 MiB by default.'),
  retries: z
    .int()
    .min(0)
    .max(5)
    .optional()
    .describe(
      'How often a call that failed before its answer began is made again, on another address and within 10 % of the traffic and ten a second: idempotent methods, and POST with an Idempotency-Key; 1 by default.',
    ),
};

/** One entry of `routes`. */
export const tableRoute = z
  .strictObject({
    path: pattern.describe('Path with placeholders; a literal segment goes before a placeholder.'),
    methods: z
      .array(z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']))
      .min(1)
      .describe('Methods that are forwarded; GET brings HEAD with it. Any other is answered 405.'),
    upstream: upstreamName,
    encoded_slashes: z
      .enum(['refuse', 'allow'])
      .default('refuse')
      .describe(
        'Whether %2F and %5C, also encoded twice, are forwarded as data within a segment; refused with 400 by default, since a service that decodes them first would see another path. Dot segments and %00 are refused in either case.',
      ),
    ...limits,
    ...policyKeys,
  })
  .describe('A path that is forwarded, as it came.');

const part = z
  .strictObject({
    upstream: upstreamName,
    path: target.describe("Path to ask for; {name} is filled in from the aggregate's path."),
    required: z
      .boolean()
      .default(false)
      .describe('Without it there is no answer; without one that is not required the answer is degraded.'),
    timeout_ms: milliseconds
      .optional()
      .describe('Milliseconds it may take, within the time of the request; UPSTREAM_TIMEOUT_MS by default.'),
    kept_statuses: z
      .array(z.literal([401, 403, 404, 429]))
      .default([401, 403, 404, 429])
      .describe(
        'Statuses of this service that the aggregate returns too when the part is required, with Retry-After and WWW-Authenticate; any other error without a problem of ours is 502. All four by default.',
      ),
    cache: partCacheKey,
  })
  .describe('One call that an aggregate makes.');

const member = z
  .strictObject({
    from: z
      .string()
      .regex(/^[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)*$/, 'must be a part and a path into its answer: user.data.id')
      .describe("Name of a part, and where in the JSON of its answer the member's value is."),
    missing: z
      .union([z.string(), z.number(), z.boolean(), z.null()])
      .default(null)
      .describe('What is shown when the part could not be had; null by default.'),
    omit_null: z.boolean().default(false).describe('Leaves the member out instead of showing null.'),
  })
  .describe('One member of the answer.');

/** One entry of `aggregates`. */
export const tableAggregate = z
  .strictObject({
    path: target.describe('Path with placeholders that is answered to GET.'),
    params: z
      .record(z.string(), regularExpression)
      .default({})
      .describe(
        'Regular expressions that the values of placeholders must fit as a whole; what does not is 400.',
      ),
    parts: z
      .record(z.string().regex(/^[a-z][a-z0-9_]*$/, 'must be a lower-case name'), part)
      .refine((parts) => Object.keys(parts).length > 0, 'must have at least one part')
      .describe('Calls that are made at the same time, by name.'),
    answer: z.record(z.string(), member).describe('Members of `data` in the answer.'),
    ...sharedPolicyKeys,
  })
  .describe('An answer made of several services.');

/** The file that says what the gateway offers. */
export const routeTable = z
  .strictObject({
    upstreams: z.record(upstreamName, upstream).describe('The services behind the gateway, by name.'),
    defaults: z
      .strictObject({ ...limits, ...policyKeys })
      .prefault({})
      .describe(
        'Limits and policies of every route that does not set its own; aggregates have the policies too, but no cache.',
      ),
    routes: z.array(tableRoute).describe('What is forwarded where.'),
    aggregates: z.array(tableAggregate).default([]).describe('What is answered from several services.'),
    own: ownEndpoints,
  })
  .describe("The gateway's table of routes.");

/** A table in which every key has its shape; `findConflicts` says whether its parts fit one another. */
export type RouteTable = z.output<typeof routeTable>;

export type TableAggregate = RouteTable['aggregates'][number];

/** The JSON Schema by which editors complete and check a table. */
export function routeTableSchema(): object {
  const { $schema, ...schema } = z.toJSONSchema(routeTable, { io: 'input' });
  return { $schema, title: 'Table of routes of the zerda gateway', ...schema };
}
