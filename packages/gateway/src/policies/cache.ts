import { hasBody } from '@zerda/chassis/http/has-body';
import { z } from 'zod';
import type { Found, Question } from '../cache/answer-cache.ts';
import { directivesOf } from '../cache/cache-control.ts';
import {
  conditionsOf,
  createSentHeaders,
  fetchHeaders,
  type RequestHeaders,
  requestHeadersKey,
} from '../cache/cached-request.ts';
import { type CacheSettings, oldestMs } from '../cache/freshness.ts';
import { ownerOf } from '../cache/owner.ts';
import { rangeOf, sendKept } from '../cache/send-kept.ts';
import { askWhole } from '../cache/whole-answer.ts';
import { passInterim } from '../interim.ts';
import { missingSecurityHeaders } from '../passed-headers.ts';
import type { ForwardedRoute } from '../routes/forwarded-route.ts';
import { withinDeadline } from '../within-deadline.ts';
import type { Policy, PolicyKind } from './policy.ts';
import type { PolicyResources } from './resources.ts';
import type { Visit } from './visit.ts';

const milliseconds = z.int().min(0).max(oldestMs);

const lifetimes = {
  ttl_ms: milliseconds.describe(
    'Milliseconds that an answer is fresh at most; less where the service says so. What other replicas wrote is seen after that at the latest.',
  ),
  stale_while_revalidate_ms: milliseconds
    .optional()
    .describe(
      'Milliseconds after that in which the old answer is given while a new one is fetched, at most. Where the service says for how long an answer is fresh, only as far as it allows (max-age, or stale-while-revalidate of RFC 5861), and by default just then. Never after must-revalidate, no-cache, s-maxage or max-age=0. They add to the time after which what other replicas wrote is seen.',
    ),
  stale_if_error_ms: milliseconds
    .optional()
    .describe(
      'Milliseconds after that in which the old answer is given when the service fails or its circuit is open, at most, and where the service does not say; by default what the service says (stale-if-error of RFC 5861). Never after must-revalidate, no-cache, s-maxage or max-age=0. No answer is shown more than five minutes after it was asked for.',
    ),
  max_bytes: z
    .int()
    .min(1)
    .max(2 ** 26)
    .default(256 * 1024)
    .describe('Bytes of an answer that is kept, at most; larger ones are passed on. 256 KiB by default.'),
};

const meaning =
  'Whether answers to GET are kept for the caller who got them, as far as the service allows (Cache-Control, Vary). Any other method that goes to the same upstream makes them old.';

/** How responses of a route are cached. */
const cacheKey = z
  .union([
    z.literal('off'),
    z
      .strictObject({ ...lifetimes, request_headers: requestHeadersKey })
      .describe('How answers to GET are kept.'),
  ])
  .optional()
  .describe(`${meaning} The service gets only request headers that are part of the key. Off by default.`);

/** How responses to a part of an aggregate are cached: the aggregate sends the same headers for every client. */
export const partCacheKey = z
  .union([z.literal('off'), z.strictObject(lifetimes).describe('How answers to GET are kept.')])
  .optional()
  .describe(`${meaning} Off by default.`);

type PartCache = z.output<typeof partCacheKey>;

/** How long answers are kept, as the table has it; undefined when they are not. */
export function cacheSettings(set: PartCache): (CacheSettings & { readonly maxBytes: number }) | undefined {
  if (set === undefined || set === 'off') return undefined;
  return {
    ttlMs: set.ttl_ms,
    staleWhileRevalidateMs: set.stale_while_revalidate_ms,
    staleIfErrorMs: set.stale_if_error_ms,
    maxBytes: set.max_bytes,
  };
}

const keys = { cache: cacheKey };

/** Answers what is known without asking for it again, and sees to it that nobody reads what is older than their own write. */
export const cache: PolicyKind<typeof keys> = {
  keys,
  answerHeaders: ['x-cache'],
  describe: ({ cache: set }) =>
    set === undefined || set === 'off'
      ? undefined
      : `cache ${set.ttl_ms} ms${describeHeaders(set.request_headers)}`,
  create({ cache: set }, { forwarded: route, path, methods, upstreams }, resources) {
    if (route === undefined) return undefined;
    const settings = methods.includes('GET') ? readSettings(set) : undefined;
    const read = settings && createRead(route, path, settings, resources);
    const writes = methods.some(isUnsafe) && upstreams.some((name) => resources.cachedUpstreams.has(name));
    const write = writes ? createWrite(route.upstream.name, resources) : undefined;
    if (read === undefined && write === undefined) return undefined;
    return (visit) => {
      const { method = '' } = visit.request;
      if (isUnsafe(method)) return write?.(visit) ?? false;
      // What OPTIONS answers is not what GET does, and is not cached (RFC 9110, section 9.3.7).
      return method === 'OPTIONS' ? false : (read?.(visit) ?? false);
    };
  },
};

interface ReadSettings extends CacheSettings {
  readonly maxBytes: number;
  readonly requestHeaders: RequestHeaders;
}

function readSettings(set: z.output<typeof cacheKey>): ReadSettings | undefined {
  const settings = cacheSettings(set);
  if (settings === undefined || set === undefined || set === 'off') return undefined;
  return { ...settings, requestHeaders: set.request_headers };
}

function describeHeaders(requestHeaders: RequestHeaders): string {
  if (requestHeaders === 'all') return ' by Vary alone';
  return requestHeaders.length === 0 ? '' : ` by ${requestHeaders.join(' ')}`;
}

function isUnsafe(method: string): boolean {
  return method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS';
}

/**
 * A write makes what was read before it old when it sets out, and what was read meanwhile when its answer comes back: before
 * that answer leaves, so that whoever has it reads nothing older.
 */
function createWrite(upstream: string, { cache: answers }: PolicyResources): Policy {
  const raise = (): void => answers.raise(upstream);
  return (visit) => {
    raise();
    visit.onAnswer = raise;
    // Without an answer it may have been carried out all the same.
    visit.response.once('close', raise);
    return false;
  };
}

/**
 * Reads through the cache. A header of the client reaches the service only when its value is part of the key, else one client could
 * decide by a header what another one gets. That holds whether the response turns out to be cacheable or not, so that what the
 * service sees never depends on the state of the cache; only requests that bypass the cache by themselves are forwarded as they are.
 */
function createRead(
  route: ForwardedRoute,
  path: string,
  settings: ReadSettings,
  { cache: answers, metrics, forwardedHeaders, isSecure, guards }: PolicyResources,
): Policy {
  const { upstream, keepHost, timeoutMs, slowMs, retries, passesAnswer } = route;
  const { requestHeaders } = settings;
  const sentHeadersOf = createSentHeaders({ requestHeaders, keepHost, forwardedHeaders });

  function questionOf({ request, response, context, caller }: Visit): Question {
    const target = request.url ?? '';
    const sent = sentHeadersOf(request);
    const { authorization } = request.headers;
    return {
      upstream: upstream.name,
      target,
      owner: ownerOf(caller, authorization),
      sent,
      settings,
      ask: (conditions) =>
        askWhole({
          ...{ upstream, target, context, passesAnswer, timeoutMs, slowMs, retries },
          maxBytes: settings.maxBytes,
          headers: (ms) => fetchHeaders(sent, { context, ms, authorization, conditions }),
          onInterim: (status, raw) => passInterim(request, response, status, raw, passesAnswer),
        }),
    };
  }

  function answer({ request, response, context, answerHeaders: more }: Visit, found: Found): true {
    metrics.cacheAsked(path, found.outcome);
    const missing = missingSecurityHeaders(found.answer.headers, isSecure(request));
    sendKept(request, response, found, [...guards.list(context), ...missing, ...more], passesAnswer);
    return true;
  }

  async function fetch(visit: Visit, question: Question): Promise<boolean> {
    const found = await withinDeadline(answers.fetch(question), visit.context);
    if (found !== undefined) return answer(visit, found);
    metrics.cacheAsked(path, 'bypass');
    const { request, context } = visit;
    const { authorization } = request.headers;
    visit.requestHeaders = (ms) => [
      ...fetchHeaders(question.sent, { context, ms, authorization }),
      ...conditionsOf(request),
    ];
    return false;
  }

  return (visit) => {
    if (mustAsk(visit)) {
      metrics.cacheAsked(path, 'bypass');
      return false;
    }
    const question = questionOf(visit);
    const found = answers.find(question);
    if (visit.request.headers.range !== undefined) {
      if (found !== undefined && holdsRange(visit.request, found)) return answer(visit, found);
      metrics.cacheAsked(path, 'bypass');
      return false;
    }
    return found === undefined ? fetch(visit, question) : answer(visit, found);
  };
}

/** Whether a stored answer has the range that is asked for. Other ranges are the service's to answer: it may know better. */
function holdsRange(request: Visit['request'], { answer }: Found): boolean {
  return (
    answer.status === 200 && (request.method !== 'GET' || rangeOf(request, answer.body.length) !== undefined)
  );
}

/** Conditions that are about this answer and not about the one that is kept. */
const particular = ['if-range', 'if-match', 'if-unmodified-since'];

/** Whether the caller wants the answer from the service, or the answer may depend on what no key has. */
function mustAsk({ request, caller }: Visit): boolean {
  const { headers } = request;
  if (particular.some((name) => headers[name] !== undefined) || hasBody(request)) return true;
  if (headers.cookie !== undefined || (headers.authorization !== undefined && caller === undefined))
    return true;
  if (headers['cache-control'] === undefined) return headers.pragma === 'no-cache';
  const control = directivesOf(headers['cache-control']);
  return control.has('no-store') || control.has('no-cache') || control.get('max-age') === '0';
}
