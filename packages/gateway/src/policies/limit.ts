import { z } from 'zod';
import { type QuotaSettings, quotaSchema } from '../limits/quota.ts';
import type { RequestCounter, RequestCounters } from '../limits/request-counters.ts';
import { definePolicy, type Policy, type PolicyRoute } from './policy.ts';

/** Counts each request against the limit of its caller and the limits of its upstreams. */
export const limit = definePolicy({
  key: 'limit',
  schema: z
    .union([z.literal('off'), quotaSchema])
    .optional()
    .describe(
      'Rate limit of each caller on this route. Requests are counted by the subject of the token, or without a token by client address (IPv6: /64 prefix). off, the default, sets no limit.',
    ),
  scopes: ['routes', 'aggregates', 'own'],
  resources: ['counters', 'metrics'],
  responseHeaders: (quota, route, { counters }) =>
    countersOf(quota, route, counters).length > 0 ? ['ratelimit', 'ratelimit-policy'] : [],
  documentation: {
    effect: 'counts the request, per caller and per service',
    response: '429 `rate-limited`',
  },
  describe: (quota) =>
    quota === undefined || quota === 'off' ? undefined : `limit ${quota.requests}/${quota.per_seconds} s`,
  create(quota, route, { counters, metrics }) {
    const used = countersOf(quota, route, counters);
    const [first] = used;
    if (first === undefined) return undefined;
    const step =
      ({ scope, count }: RequestCounter): Policy =>
      (policyContext) =>
        count(policyContext).then((failure) => {
          if (failure === undefined) return false;
          metrics.limited(route.path, scope);
          throw failure;
        });
    if (used.length === 1) return step(first);
    const steps = used.map(step);
    return async (policyContext) => {
      for (const countStep of steps) await countStep(policyContext);
      return false;
    };
  },
});

/** Returns the counters of a route: that of the caller and those of its upstreams. */
function countersOf(
  quota: QuotaSettings | 'off' | undefined,
  { name, upstreams }: Pick<PolicyRoute, 'name' | 'upstreams'>,
  counters: RequestCounters,
): RequestCounter[] {
  return [
    quota === undefined || quota === 'off' ? undefined : counters.perCaller(quota, name),
    ...upstreams.map((upstream) => counters.ofUpstream(upstream)),
  ].filter((counter) => counter !== undefined);
}
