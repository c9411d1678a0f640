import { Failure } from '@zerda/chassis/failure';
import { networkOf } from '@zerda/chassis/http/addresses';
import { z } from 'zod';
import type { Count, Quota } from '../limits/limiter.ts';
import type { Policy, PolicyKind } from './policy.ts';
import type { RequestCounter } from './request-counter.ts';
import type { PolicyResources } from './resources.ts';
import type { Visit } from './visit.ts';

/** How many requests are taken in how long. */
export const quota = z
  .strictObject({
    requests: z.int().min(1).max(1_000_000_000).describe('Requests at most.'),
    per_seconds: z.int().min(1).max(86_400).describe('Seconds that they are counted in.'),
  })
  .describe('How many requests are taken in how long; more are answered 429.');

const keys = {
  limit: z
    .union([z.literal('off'), quota])
    .optional()
    .describe(
      'Requests that one caller may make to this route: counted by the subject of the token, else by the address of the client (of IPv6 the /64). Without a limit by default, or when it is off.',
    ),
};

/** Counts each request for its caller, and all of them for the services that they lead to. */
export const limit: PolicyKind<typeof keys> = {
  keys,
  answerHeaders: ['ratelimit', 'ratelimit-policy'],
  describe: ({ limit: set }) =>
    set === undefined || set === 'off' ? undefined : `limit ${set.requests}/${set.per_seconds} s`,
  create({ limit: set }, route, resources) {
    const counters = [
      ...(set === undefined || set === 'off' ? [] : [perCaller(set, route.name, resources)]),
      ...route.upstreams.flatMap((name) => {
        const ofUpstream = resources.upstreamCounters.get(name);
        return ofUpstream === undefined ? [] : [ofUpstream];
      }),
    ].filter((counter) => counter !== undefined);
    const [only] = counters;
    if (only === undefined) return undefined;
    const { limited } = resources.metrics;
    const step =
      ({ scope, count }: RequestCounter): Policy =>
      (visit) =>
        count(visit).then((failure) => {
          if (failure === undefined) return false;
          limited(route.path, scope);
          throw failure;
        });
    if (counters.length === 1) return step(only);
    const steps = counters.map(step);
    return async (visit) => {
      for (const each of steps) await each(visit);
      return false;
    };
  },
};

type QuotaKey = z.output<typeof quota>;

function perCaller(
  set: QuotaKey,
  name: string,
  { limiters, limitFactor, clientAddress, authentication }: PolicyResources,
): RequestCounter | undefined {
  const scaled = scale(set, limitFactor);
  if (scaled === undefined) return undefined;
  const limiter = limiters.create(name, scaled);
  const tell = createTell('caller', scaled);
  return {
    scope: 'caller',
    count(visit) {
      const client =
        visit.caller === undefined
          ? `address:${networkOf(clientAddress(visit.request))}`
          : `subject:${visit.caller.subject}`;
      // The bulkheads of the upstreams share their slots between clients, too.
      const anonymous = visit.caller === undefined && authentication !== 'off';
      visit.context.client = { id: client, anonymous };
      return limiter.count(client).then((counted) => tell(visit, counted));
    },
  };
}

/** The limits of the upstreams that have one, by name: one for all routes that lead there. */
export function createUpstreamCounters(
  upstreams: Readonly<Record<string, { readonly limit?: QuotaKey | undefined }>>,
  { limiters, limitFactor }: Pick<PolicyResources, 'limiters' | 'limitFactor'>,
): ReadonlyMap<string, RequestCounter> {
  const counters = new Map<string, RequestCounter>();
  for (const [name, { limit: set }] of Object.entries(upstreams)) {
    const scaled = set && scale(set, limitFactor);
    if (scaled === undefined) continue;
    const limiter = limiters.create(`upstream ${name}`, scaled);
    const tell = createTell('upstream', scaled);
    const count: RequestCounter['count'] = (visit) =>
      limiter.count('all').then((counted) => tell(visit, counted));
    counters.set(name, { scope: 'upstream', count });
  }
  return counters;
}

/** Undefined when limits are switched off by a factor of 0. */
function scale({ requests, per_seconds: perSeconds }: QuotaKey, factor: number): Quota | undefined {
  return factor === 0 ? undefined : { requests: requests * factor, perSeconds };
}

/** Writes how it stands, as draft-ietf-httpapi-ratelimit-headers-10 has it, and with what a request is refused. */
function createTell(
  name: string,
  { requests, perSeconds }: Quota,
): (visit: Visit, count: Count) => Failure | undefined {
  const policy = `"${name}";q=${requests};w=${perSeconds}`;
  return ({ answerHeaders }, { allowed, remaining, resetMs }) => {
    const seconds = Math.ceil(resetMs / 1000);
    answerHeaders.push('RateLimit-Policy', policy, 'RateLimit', `"${name}";r=${remaining};t=${seconds}`);
    if (allowed) return undefined;
    return new Failure('rate-limited', { headers: { 'Retry-After': String(Math.max(1, seconds)) } });
  };
}
