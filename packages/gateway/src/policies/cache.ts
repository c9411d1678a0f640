import { Failure } from '@zerda/chassis/failure';
import { hasBody } from '@zerda/chassis/http/has-body';
import { z } from 'zod';
import type { Found, Question } from '../cache/answer-cache.ts';
import { type CacheSettings, directivesOf, oldestMs } from '../cache/freshness.ts';
import { ownerOf } from '../cache/owner.ts';
import { sendKept } from '../cache/send-kept.ts';
import { askWhole } from '../cache/whole-answer.ts';
import { without } from '../header-pairs.ts';
import { passedRequestHeaders } from '../passed-headers.ts';
import type { ForwardedRoute } from '../routes/forwarded-route.ts';
import type { Policy, PolicyKind } from './policy.ts';
import type { PolicyResources } from './resources.ts';
import type { Visit } from './visit.ts';

const milliseconds = z.int().min(0).max(oldestMs);

/** How answers are kept. */
export const cacheKey = z
  .union([
    z.literal('off'),
    z
      .strictObject({
        ttl_ms: milliseconds.describe(
          'Milliseconds that an answer is fresh at most; less where the service says so. What other replicas wrote is seen after that at the latest.',
        ),
        stale_while_revalidate_ms: milliseconds
          .default(0)
          .describe(
            'Milliseconds after that in which the old answer is given while a new one is fetched; 0 by default. They add to the time after which what other replicas wrote is seen.',
          ),
        stale_if_error_ms: milliseconds
          .default(oldestMs)
          .describe(
            'Milliseconds after that in which the old answer is given when the service fails or its circuit is open; up to five minutes after it was asked for, by default.',
          ),
        max_bytes: z
          .int()
          .min(1)
          .max(2 ** 26)
          .default(256 * 1024)
          .describe(
            'Bytes of an answer that is kept, at most; larger ones are passed on. 256 KiB by default.',
          ),
      })
      .describe('How answers to GET are kept.'),
  ])
  .optional()
  .describe(
    'Whether answers to GET are kept for the caller who got them, as far as the service allows (Cache-Control, Vary). Any other method that goes to the same upstream makes them old. Off by default.',
  );

/** How long answers are kept, as the table has it; undefined when they are not. */
export function cacheSettings(
  set: z.output<typeof cacheKey>,
): (CacheSettings & { readonly maxBytes: number }) | undefined {
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
  describe: ({ cache: set }) => (set === undefined || set === 'off' ? undefined : `cache ${set.ttl_ms} ms`),
  create({ cache: set }, { forwarded: route, path, methods, upstreams }, resources) {
    if (route === undefined) return undefined;
    const settings = methods.includes('GET') ? cacheSettings(set) : undefined;
    const read = settings && createRead(route, path, settings, resources);
    const writes = methods.some(isUnsafe) && upstreams.some((name) => resources.cachedUpstreams.has(name));
    const write = writes ? createWrite(route.upstream.name, resources) : undefined;
    if (read === undefined && write === undefined) return undefined;
    return (visit) => (isUnsafe(visit.request.method ?? '') ? write : read)?.(visit) ?? false;
  },
};

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

function createRead(
  route: ForwardedRoute,
  path: string,
  settings: CacheSettings & { readonly maxBytes: number },
  { cache: answers, metrics, forwardedHeaders, guards }: PolicyResources,
): Policy {
  const { upstream, keepHost, timeoutMs, slowMs, retries, passesAnswer } = route;

  function questionOf({ request, context, caller }: Visit): Question {
    const target = request.url ?? '';
    return {
      upstream: upstream.name,
      target,
      owner: ownerOf(caller),
      settings,
      header: (name) => textOf(request.headers[name]),
      ask: (etag) =>
        askWhole({
          ...{ upstream, target, context, passesAnswer, timeoutMs, slowMs, retries },
          maxBytes: settings.maxBytes,
          headers: (ms) =>
            withCondition(passedRequestHeaders(request, { context, ms, forwardedHeaders, keepHost }), etag),
        }),
    };
  }

  function answer({ request, response, context, answerHeaders: more }: Visit, found: Found): true {
    metrics.cacheAsked(path, found.outcome);
    sendKept(request, response, found, [...guards.list(context), ...more]);
    return true;
  }

  async function fetch(visit: Visit, question: Question): Promise<boolean> {
    const found = await withinDeadline(answers.fetch(question), visit);
    if (found !== undefined) return answer(visit, found);
    metrics.cacheAsked(path, 'bypass');
    return false;
  }

  return (visit) => {
    if (mustAsk(visit)) {
      metrics.cacheAsked(path, 'bypass');
      return false;
    }
    const question = questionOf(visit);
    const found = answers.find(question);
    return found === undefined ? fetch(visit, question) : answer(visit, found);
  };
}

/** Conditions that are about this answer and not about the one that is kept, and ranges of it. */
const particular = ['range', 'if-range', 'if-match', 'if-unmodified-since'];

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

/** Conditions that the gateway answers itself. */
const answered = new Set(['if-none-match', 'if-modified-since']);

/** The headers that a call for a whole answer goes on with; with a tag, it is asked whether that answer still holds. */
function withCondition(headers: readonly string[], etag: string | undefined): string[] {
  const whole = without(headers, answered);
  return etag === undefined ? whole : [...whole, 'if-none-match', etag];
}

/** The answer is waited for as long as the caller waits; it is fetched to its end all the same. */
function withinDeadline<T>(answer: Promise<T>, { context }: Visit): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Failure('deadline-exceeded'));
    const timer = setTimeout(late, context.deadline.remainingMs());
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function textOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(', ') : header;
}
