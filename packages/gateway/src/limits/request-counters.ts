import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { Failure } from '@zerda/chassis/failure';
import { networkOf } from '@zerda/chassis/http/addresses';
import type { ClientAddress } from '@zerda/chassis/http/client-address';
import type { Logger } from '@zerda/chassis/logging/logger';
import { requestLogFields } from '@zerda/chassis/request-context';
import type { PolicyContext } from '../policies/policy-context.ts';
import type { Limiters, LimitResult, Quota } from './limiter.ts';
import type { QuotaSettings } from './quota.ts';

/** Counts requests against one limit. */
export interface RequestCounter {
  /** Label of the limit in metrics. */
  readonly scope: 'caller' | 'upstream';
  /** Counts the request and adds the rate limit headers. Resolves with a Failure if the limit is exceeded. */
  count(policyContext: PolicyContext): Promise<Failure | undefined>;
}

/** Counters of all limits. */
export interface RequestCounters {
  /**
   * Returns the counter per caller: the subject of the token, or without one the client's network. Undefined if limits are disabled.
   * @param name name of the limit; callers with the same name share its counter
   */
  perCaller(settings: QuotaSettings, name: string): RequestCounter | undefined;
  /** Returns the counter of an upstream, which all routes to it share; undefined if it has no limit. */
  ofUpstream(name: string): RequestCounter | undefined;
}

export interface RequestCountersOptions {
  readonly limiters: Limiters;
  /** Multiplies every configured rate limit; 0 disables them. */
  readonly limitFactor: number;
  /** The upstreams of the route table. */
  readonly upstreams: Readonly<Record<string, { readonly limit?: QuotaSettings | undefined }>>;
  readonly clientAddress: ClientAddress;
  readonly authentication: Authentication;
  readonly logger: Logger;
}

export function createRequestCounters({
  limiters,
  limitFactor,
  upstreams,
  clientAddress,
  authentication,
  logger,
}: RequestCountersOptions): RequestCounters {
  const ofUpstreams = new Map<string, RequestCounter>();
  for (const [name, { limit }] of Object.entries(upstreams)) {
    const quota = limit && scale(limit, limitFactor);
    if (quota === undefined) continue;
    const limiter = limiters.create(`upstream ${name}`, quota);
    const report = createReporter('upstream', quota, logger);
    ofUpstreams.set(name, {
      scope: 'upstream',
      count: (policyContext) =>
        limiter.count('all', policyContext.context).then((result) => report(policyContext, result)),
    });
  }

  const perCaller = new Map<string, RequestCounter>();
  function createPerCaller(name: string, quota: Quota): RequestCounter {
    const limiter = limiters.create(name, quota);
    const report = createReporter('caller', quota, logger);
    return {
      scope: 'caller',
      count(policyContext) {
        const client =
          policyContext.caller === undefined
            ? `address:${networkOf(clientAddress(policyContext.request))}`
            : `subject:${policyContext.caller.subject}`;
        // Bulkheads use it to share their slots fairly between clients.
        const anonymous = policyContext.caller === undefined && authentication !== 'off';
        policyContext.context.client = { id: client, anonymous };
        return limiter.count(client, policyContext.context).then((result) => report(policyContext, result));
      },
    };
  }

  return {
    ofUpstream: (name) => ofUpstreams.get(name),
    perCaller(settings, name) {
      const quota = scale(settings, limitFactor);
      if (quota === undefined) return undefined;
      const counter = perCaller.get(name) ?? createPerCaller(name, quota);
      perCaller.set(name, counter);
      return counter;
    },
  };
}

/** Returns the quota multiplied by the factor; undefined if the factor is 0, which disables limits. */
function scale({ requests, per_seconds: perSeconds }: QuotaSettings, factor: number): Quota | undefined {
  return factor === 0 ? undefined : { requests: requests * factor, perSeconds };
}

/**
 * Creates the function that adds the headers of draft-ietf-httpapi-ratelimit-headers-10 and returns a Failure if the limit is exceeded.
 */
function createReporter(
  name: string,
  { requests, perSeconds }: Quota,
  logger: Logger,
): (policyContext: PolicyContext, result: LimitResult) => Failure | undefined {
  const policy = `"${name}";q=${requests};w=${perSeconds}`;
  return ({ responseHeaders, context }, { allowed, remaining, resetMs }) => {
    const seconds = Math.ceil(resetMs / 1000);
    if (logger.isLevelEnabled('debug'))
      logger.debug(
        { ...requestLogFields(context), scope: name, limit: requests, remaining, reset_seconds: seconds },
        'request counted',
      );
    responseHeaders.push('RateLimit-Policy', policy, 'RateLimit', `"${name}";r=${remaining};t=${seconds}`);
    if (allowed) return undefined;
    return new Failure('rate-limited', { retryAfterSeconds: Math.max(1, seconds) });
  };
}
