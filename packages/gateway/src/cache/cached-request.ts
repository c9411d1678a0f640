import type { IncomingMessage } from 'node:http';
import type { RequestContext } from '@zerda/chassis/request-context';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { AttemptHeaders } from '@zerda/upstream/attempt';
import { contextHeaders } from '@zerda/upstream/upstream';
import { z } from 'zod';
import type { ForwardedHeaders } from '../headers/forwarded-headers.ts';
import { valuesOf, without } from '../headers/header-pairs.ts';
import { connectionOptions, endToEndHeaders, isEndToEnd, pseudonym } from '../headers/passed-headers.ts';

/** Request headers that a cached route forwards, and those of them that are part of the cache key. */
export interface SentHeaders {
  /** Every header of the client that the upstream gets: name, value, name, value. */
  readonly pairs: readonly string[];
  /**
   * Those in the cache key: all of them, or only the authority if the service is trusted to list the headers that its response depends
   * on in `Vary`.
   */
  readonly keyed: readonly string[];
}

/** Selects the headers of a request that are forwarded. */
export type ReadSentHeaders = (request: IncomingMessage) => SentHeaders;

/** Content negotiation headers (RFC 9110, section 12.5), which every cached route forwards and has in its key. */
const negotiationHeaders = ['accept', 'accept-encoding', 'accept-language'] as const;

/** Headers that identify or trace one request. No cached response may depend on them or contain them. */
export const perRequestHeaders = [
  headerNames.correlationId,
  headerNames.requestTimeout,
  'traceparent',
  'tracestate',
  'traceresponse',
  'baggage',
] as const;

/** Conditions that the gateway evaluates itself for a cached response (RFC 9110, section 13.1). */
const conditionHeaders: ReadonlySet<string> = new Set(['if-none-match', 'if-modified-since']);

/** Headers that control the cache, identify the caller or frame a body; a route cannot forward them. */
const reserved: ReadonlySet<string> = new Set([
  ...conditionHeaders,
  ...perRequestHeaders,
  'authorization',
  'cookie',
  'cache-control',
  'pragma',
  'content-length',
  'range',
  'if-range',
  'if-match',
  'if-unmodified-since',
]);

/** Schema of the setting `request_headers`. */
export const requestHeadersKey = z
  .union([
    z.literal('all'),
    z
      .array(
        z
          .string()
          .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'must be a header name in lower case')
          .refine(
            (name) => !reserved.has(name) && isEndToEnd(name),
            'is a header that a cached route cannot forward',
          ),
      )
      .max(16),
  ])
  .default([])
  .describe(
    'Request headers that the gateway forwards and includes in the cache key, in addition to accept, accept-encoding and accept-language. None by default. `all` forwards every end-to-end header; the service must list each header that its response depends on in Vary (RFC 9111, section 4.1).',
  );

/** Value of the setting `request_headers`. */
export type RequestHeaders = z.output<typeof requestHeadersKey>;

export interface SentHeadersOptions {
  readonly requestHeaders: RequestHeaders;
  /** Whether the upstream gets the authority and scheme of the client's request. */
  readonly keepHost: boolean;
  readonly forwardedHeaders: ForwardedHeaders;
}

/** Creates the function that selects the request headers a cached route forwards. */
export function createSentHeaders({
  requestHeaders,
  keepHost,
  forwardedHeaders,
}: SentHeadersOptions): ReadSentHeaders {
  const authorityOf = keepHost
    ? (request: IncomingMessage) => authority(request, forwardedHeaders)
    : () => [];
  if (requestHeaders === 'all') {
    return (request) => {
      const target = authorityOf(request);
      const sent = without(endToEndHeaders(request), notForwarded);
      return { pairs: [...sent, ...target], keyed: target };
    };
  }
  const names = [...new Set([...negotiationHeaders, ...requestHeaders])].sort();
  return (request) => {
    const { headers } = request;
    const hopByHop = connectionOptions(headers.connection);
    const pairs = authorityOf(request);
    for (const name of names) {
      const value = headers[name];
      if (value !== undefined && !hopByHop.has(name)) pairs.push(name, String(value));
    }
    return { pairs, keyed: pairs };
  };
}

/** Headers that the gateway sets itself or has already evaluated. */
const notForwarded: ReadonlySet<string> = new Set([
  ...conditionHeaders,
  ...perRequestHeaders,
  'authorization',
  'cache-control',
  'pragma',
]);

/** Returns the headers that carry the authority and scheme of the target URI (RFC 9111, section 2). */
function authority(request: IncomingMessage, forwardedHeaders: ForwardedHeaders): string[] {
  const forwarded = forwardedHeaders(request);
  const pairs = request.headers.host === undefined ? [] : ['host', request.headers.host];
  for (const name of ['x-forwarded-host', 'x-forwarded-proto'])
    for (const value of valuesOf(forwarded, name)) pairs.push(name, value);
  return pairs;
}

export interface FetchHeadersOptions {
  readonly context: RequestContext;
  readonly attempt: AttemptHeaders;
  /** `Authorization` of the caller whose identity is in the key; undefined for an anonymous caller. */
  readonly authorization: string | undefined;
  /** Conditions that revalidate the stored response: name, value, name, value; none by default. */
  readonly conditions?: readonly string[];
}

/** Returns the headers of a cached route's request to the upstream: name, value, name, value. */
export function fetchHeaders(
  { pairs }: SentHeaders,
  { context, attempt, authorization, conditions = [] }: FetchHeadersOptions,
): string[] {
  const headers = [...pairs, 'via', `1.1 ${pseudonym}`];
  if (authorization !== undefined) headers.push('authorization', authorization);
  // The response may serve other requests, so it must not depend on the state that this one carries.
  headers.push(
    ...contextHeaders(attempt, { ...context, tracestate: undefined, baggage: undefined }),
    ...conditions,
  );
  return headers;
}

/** Returns the conditions of a request: name, value, name, value. */
export function conditionsOf({ headers }: IncomingMessage): string[] {
  return [...conditionHeaders].flatMap((name) => {
    const value = headers[name];
    return value === undefined ? [] : [name, String(value)];
  });
}
