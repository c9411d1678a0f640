import { Failure } from '@zerda/chassis/failure';
import { currentContext } from '@zerda/chassis/request-context';
import { reasonOf, type UnavailableReason } from '@zerda/upstream/call-outcome';
import { decodeBody } from '@zerda/upstream/content-coding';
import { statusError } from '@zerda/upstream/undici-adapter';
import type { Upstream } from '@zerda/upstream/upstream';
import { AxiosHeaders, type InternalAxiosRequestConfig } from 'axios';
import type { cacheSettings } from '../cache/cache-settings.ts';
import { fetchHeaders, type SentHeaders } from '../cache/cached-request.ts';
import { fetchCompleteResponse } from '../cache/fetch-complete-response.ts';
import { ownerOf } from '../cache/owner.ts';
import type { CacheLookup, CacheResult, ResponseCache } from '../cache/response-cache.ts';
import type { CompleteResponse } from '../cache/stored-response.ts';
import { valuesOf } from '../headers/header-pairs.ts';
import type { HeaderFilter } from '../headers/passed-headers.ts';
import type { PolicyMetrics } from '../metrics/policy-metrics.ts';
import type { PolicyContext } from '../policies/policy-context.ts';
import type { JsonText } from './json-text.ts';
import { parseJson, type ReadJsonOptions, readJson, requireMembers } from './read-json.ts';

/** The content of a part. */
export interface PartContent {
  readonly content: JsonText;
  /** Reason and age in seconds of a stale content that replaces a failed response. */
  readonly stale?: { readonly reason: UnavailableReason; readonly seconds: number } | undefined;
}

export interface ReadCachedJsonOptions extends ReadJsonOptions {
  /** Path pattern of the aggregate, as used in metrics. */
  readonly pattern: string;
  readonly settings: NonNullable<ReturnType<typeof cacheSettings>>;
  readonly policyContext: PolicyContext;
}

/** Dependencies of reads through the cache. */
export interface CachedReads {
  readonly cache: ResponseCache;
  readonly metrics: Pick<PolicyMetrics, 'cacheRequest'>;
  /** Selects the upstream's headers that are stored. */
  readonly passesResponse: HeaderFilter;
  /** Default timeout of an upstream in milliseconds. */
  readonly upstreamTimeoutMs: number;
}

/** Of the client's headers, parts get only the token. */
const accept = ['accept', 'application/json'];
const sent: SentHeaders = { pairs: accept, keyed: accept };

/** Parsed JSON of stored responses, so that each is parsed once. */
const parsed = new WeakMap<CompleteResponse, JsonText>();

/**
 * Fetches JSON as `readJson` does, through the cache. It shares stored responses with routes that send the same path and headers.
 * @throws what `readJson` throws, if no stored response may replace the failed one
 */
export async function readCachedJson(
  upstream: Upstream,
  path: string,
  { pattern, settings, policyContext, timeoutMs, members, template }: ReadCachedJsonOptions,
  { cache, metrics, passesResponse, upstreamTimeoutMs }: CachedReads,
): Promise<PartContent> {
  const { request, caller } = policyContext;
  // That of the part, whose span is the parent of the call.
  const context = currentContext() ?? policyContext.context;
  const { authorization } = request.headers;
  const readUncached = async (): Promise<PartContent> => ({
    content: await readJson(upstream, path, { timeoutMs, members, template }),
  });
  if (authorization !== undefined && caller === undefined) return readUncached();
  const lookup: CacheLookup = {
    upstream: upstream.name,
    target: path,
    owner: ownerOf(caller, authorization),
    sent,
    settings,
    fetch: (conditions) =>
      fetchCompleteResponse({
        upstream,
        target: path,
        context,
        passesResponse,
        template,
        headers: (attempt) => fetchHeaders(sent, { context, attempt, authorization, conditions }),
        timeoutMs: timeoutMs ?? upstreamTimeoutMs,
        retries: 1,
        maxBytes: settings.maxBytes,
      }),
  };
  const result = cache.find(lookup) ?? (await cache.fetch(lookup));
  metrics.cacheRequest(pattern, result?.outcome ?? 'bypass');
  if (result === undefined) return readUncached();
  const content = await contentOf(result, upstream.name, settings.maxBytes);
  return { content: requireMembers(content, upstream.name, members), stale: stalenessOf(result) };
}

async function contentOf({ response }: CacheResult, upstream: string, maxBytes: number): Promise<JsonText> {
  const cached = parsed.get(response);
  if (cached !== undefined) return cached;
  const { status, headers, body } = response;
  const coding = valuesOf(headers, 'content-encoding').join(', ');
  const decoded = await decodeBody(body, coding === '' ? undefined : coding, maxBytes).catch(
    (cause: unknown) => {
      throw new Failure('upstream-failed', {
        detail: `The content coding of the response of ${upstream} cannot be decoded.`,
        cause,
      });
    },
  );
  if (status < 200 || status >= 300) throw errorOf(response, decoded);
  const json = parseJson(decoded, upstream);
  parsed.set(response, json);
  return json;
}

/** Parses JSON; returns any other text unchanged, as axios does. */
function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function errorOf({ status, headers }: CompleteResponse, body: Buffer): Error {
  const named = new AxiosHeaders();
  for (let index = 0; index < headers.length; index += 2) {
    named.set((headers[index] ?? '').toLowerCase(), headers[index + 1] ?? '');
  }
  const config = {} as InternalAxiosRequestConfig;
  return statusError({
    status,
    statusText: '',
    headers: named,
    data: parseOrText(body.toString('utf8')),
    config,
  });
}

function stalenessOf({ outcome, failure, ageMs }: CacheResult): PartContent['stale'] {
  if (outcome !== 'stale' || failure === undefined) return undefined;
  return { reason: reasonOf(failure), seconds: Math.floor(ageMs / 1000) };
}
