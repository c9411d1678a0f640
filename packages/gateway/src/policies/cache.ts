import { hasBody } from '@zerda/chassis/http/has-body';
import { type RequestContext, requestLogFields } from '@zerda/chassis/request-context';
import { directivesOf } from '../cache/cache-control.ts';
import { cacheSchema, type RouteCacheSettings, routeCacheSettings } from '../cache/cache-settings.ts';
import {
  conditionsOf,
  createSentHeaders,
  fetchHeaders,
  type RequestHeaders,
} from '../cache/cached-request.ts';
import { fetchCompleteResponse } from '../cache/fetch-complete-response.ts';
import { ownerOf } from '../cache/owner.ts';
import type { CacheLookup, CacheResult } from '../cache/response-cache.ts';
import { rangeOf, sendStored } from '../cache/send-stored.ts';
import { missingSecurityHeaders } from '../headers/security-headers.ts';
import type { CacheOutcome } from '../metrics/policy-metrics.ts';
import { isUnsafe } from '../requests/is-unsafe.ts';
import { withinDeadline } from '../requests/within-deadline.ts';
import { passInterim } from '../responses/pass-interim.ts';
import type { ForwardedRoute } from '../routes/forwarded-route.ts';
import { definePolicy, type Policy } from './policy.ts';
import type { PolicyContext } from './policy-context.ts';
import type { PolicyResources } from './resources.ts';

/** Serves GET from the cache, and invalidates it on writes so that clients read their own writes. */
export const cache = definePolicy({
  key: 'cache',
  schema: cacheSchema,
  scopes: ['routes'],
  resources: [
    'cache',
    'cachedUpstreams',
    'forwardedHeaders',
    'isSecure',
    'logger',
    'metrics',
    'securityHeaders',
  ],
  responseHeaders: (setting) => (setting === undefined || setting === 'off' ? [] : ['x-cache']),
  documentation: { effect: 'responds from the cache', response: '`X-Cache`' },
  describe: (setting) =>
    setting === undefined || setting === 'off'
      ? undefined
      : `cache ${setting.ttl_ms} ms${describeHeaders(setting.request_headers)}`,
  create(setting, { forwarded: route, path, methods, upstreams }, resources) {
    if (route === undefined) return undefined;
    const settings = methods.includes('GET') ? routeCacheSettings(setting) : undefined;
    const read = settings && createReadPolicy(route, path, settings, resources);
    const writes = methods.some(isUnsafe) && upstreams.some((name) => resources.cachedUpstreams.has(name));
    const write = writes ? createInvalidationPolicy(route.upstream.name, resources) : undefined;
    if (read === undefined && write === undefined) return undefined;
    return (policyContext) => {
      const { method = '' } = policyContext.request;
      if (isUnsafe(method)) return write?.(policyContext) ?? false;
      // Responses to OPTIONS are not cacheable (RFC 9110, section 9.3.7).
      return method === 'OPTIONS' ? false : (read?.(policyContext) ?? false);
    };
  },
});

function describeHeaders(requestHeaders: RequestHeaders): string {
  if (requestHeaders === 'all') return ' by Vary alone';
  return requestHeaders.length === 0 ? '' : ` by ${requestHeaders.join(' ')}`;
}

/**
 * Invalidates the upstream's responses when a write starts, and again before its response is sent. A client that has the response therefore
 * reads nothing older.
 */
function createInvalidationPolicy(
  upstream: string,
  { cache: responses }: Pick<PolicyResources, 'cache'>,
): Policy {
  const invalidate = (): void => responses.invalidate(upstream);
  return (policyContext) => {
    invalidate();
    policyContext.onResponse = invalidate;
    // A write without a response may still have succeeded.
    policyContext.response.once('close', invalidate);
    return false;
  };
}

/**
 * Serves GET through the cache. The service gets only client headers that are part of the cache key, so that no client can influence the
 * responses of others. This applies to uncacheable responses too: the request must not depend on the state of the cache. Only requests that
 * bypass the cache by their own headers are forwarded unchanged.
 */
function createReadPolicy(
  route: ForwardedRoute,
  path: string,
  settings: RouteCacheSettings,
  {
    cache: responses,
    metrics,
    logger,
    forwardedHeaders,
    isSecure,
    securityHeaders,
  }: Pick<
    PolicyResources,
    'cache' | 'forwardedHeaders' | 'isSecure' | 'logger' | 'metrics' | 'securityHeaders'
  >,
): Policy {
  const { upstream, keepHost, timeoutMs, slowMs, retries, passesResponse } = route;
  const { requestHeaders } = settings;
  const count = (context: RequestContext, outcome: CacheOutcome): void => {
    metrics.cacheRequest(path, outcome);
    context.span?.set({ 'zerda.cache.outcome': outcome });
    if (logger.isLevelEnabled('debug'))
      logger.debug({ ...requestLogFields(context), route: path, outcome }, 'cache lookup');
  };
  const sentHeadersOf = createSentHeaders({ requestHeaders, keepHost, forwardedHeaders });

  function lookupOf({ request, response, context, caller }: PolicyContext): CacheLookup {
    const target = request.url ?? '';
    const sent = sentHeadersOf(request);
    const { authorization } = request.headers;
    return {
      upstream: upstream.name,
      target,
      owner: ownerOf(caller, authorization),
      sent,
      settings,
      fetch: (conditions) =>
        fetchCompleteResponse({
          upstream,
          target,
          context,
          passesResponse,
          timeoutMs,
          slowMs,
          retries,
          maxBytes: settings.maxBytes,
          template: path,
          headers: (attempt) => fetchHeaders(sent, { context, attempt, authorization, conditions }),
          onInterim: (status, raw) => passInterim(request, response, status, raw, passesResponse),
        }),
    };
  }

  function sendResult(
    { request, response, context, responseHeaders: more }: PolicyContext,
    result: CacheResult,
  ): true {
    count(context, result.outcome);
    const { fetchedBy } = result.response;
    if (result.outcome === 'coalesced' && fetchedBy !== undefined) context.span?.addLink(fetchedBy);
    const missing = missingSecurityHeaders(result.response.headers, isSecure(request));
    sendStored(
      request,
      response,
      result,
      [...securityHeaders.list(context), ...missing, ...more],
      passesResponse,
    );
    return true;
  }

  async function fetch(policyContext: PolicyContext, lookup: CacheLookup): Promise<boolean> {
    const result = await withinDeadline(responses.fetch(lookup), policyContext.context);
    if (result !== undefined) return sendResult(policyContext, result);
    const { request, context } = policyContext;
    count(context, 'bypass');
    const { authorization } = request.headers;
    policyContext.requestHeaders = (attempt) => [
      ...fetchHeaders(lookup.sent, { context, attempt, authorization }),
      ...conditionsOf(request),
    ];
    return false;
  }

  return (policyContext) => {
    if (mustBypass(policyContext)) {
      count(policyContext.context, 'bypass');
      return false;
    }
    const lookup = lookupOf(policyContext);
    const result = responses.find(lookup);
    if (policyContext.request.headers.range !== undefined) {
      if (result !== undefined && satisfiesRange(policyContext.request, result))
        return sendResult(policyContext, result);
      count(policyContext.context, 'bypass');
      return false;
    }
    return result === undefined ? fetch(policyContext, lookup) : sendResult(policyContext, result);
  };
}

/** Whether a stored response satisfies the requested range. Requests for other ranges go to the service. */
function satisfiesRange(request: PolicyContext['request'], { response: stored }: CacheResult): boolean {
  return (
    stored.status === 200 && (request.method !== 'GET' || rangeOf(request, stored.body.length) !== undefined)
  );
}

/** Conditions that only the service can evaluate. */
const serviceConditions = ['if-range', 'if-match', 'if-unmodified-since'];

/** Whether the client requests a response from the service, or the response may depend on headers outside the cache key. */
function mustBypass({ request, caller }: PolicyContext): boolean {
  const { headers } = request;
  if (serviceConditions.some((name) => headers[name] !== undefined) || hasBody(request)) return true;
  if (headers.cookie !== undefined || (headers.authorization !== undefined && caller === undefined))
    return true;
  if (headers['cache-control'] === undefined) return headers.pragma === 'no-cache';
  const control = directivesOf(headers['cache-control']);
  return control.has('no-store') || control.has('no-cache') || control.get('max-age') === '0';
}
