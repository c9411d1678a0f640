import type { IncomingMessage } from 'node:http';
import { contextHeaders } from '@zerda/chassis/http-client/upstream';
import type { RequestContext } from '@zerda/chassis/request-context';
import { headerNames } from '@zerda/contracts/protocol/headers';
import { z } from 'zod';
import type { ForwardedHeaders } from '../forwarded-headers.ts';
import { valuesOf, without } from '../header-pairs.ts';
import { connectionOptions, endToEndHeaders, isEndToEnd, pseudonym } from '../passed-headers.ts';

/** Headers of the client that the upstream gets on a cached read, and what of them is in the key. */
export interface SentHeaders {
  /** Name, value, name, value: all that the client can change of what the upstream sees, beside the target. */
  readonly pairs: readonly string[];
  /**
   * What the key has of them: every pair, or those of `host: caller` alone when the service is trusted to state in `Vary` which
   * others its response depends on.
   */
  readonly keyed: readonly string[];
}

/** Reads them from a request. */
export type ReadSentHeaders = (request: IncomingMessage) => SentHeaders;

/** Request headers that are sent and keyed on every cached route: those of content negotiation (RFC 9110, section 12.5). */
const negotiationHeaders = ['accept', 'accept-encoding', 'accept-language'] as const;

/** Headers that carry one request through all services. No response may depend on them, and none is stored with them. */
export const perRequestHeaders = [
  ...[headerNames.correlationId, headerNames.requestTimeout],
  ...['traceparent', 'tracestate', 'traceresponse', 'baggage'],
] as const;

/** Conditions that the gateway evaluates itself for a cached response (RFC 9110, section 13.1). */
const evaluated: ReadonlySet<string> = new Set(['if-none-match', 'if-modified-since']);

/** Headers that decide whether the cache is used, that identify the caller, or that frame a body. */
const reserved: ReadonlySet<string> = new Set([
  ...[...evaluated, ...perRequestHeaders],
  ...['authorization', 'cookie', 'cache-control', 'pragma', 'content-length'],
  ...['range', 'if-range', 'if-match', 'if-unmodified-since'],
]);

/** Which request headers a cached route sends. */
export const requestHeadersKey = z
  .union([
    z.literal('all'),
    z
      .array(
        z
          .string()
          .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'must be the name of a header in lower case')
          .refine(
            (name) => !reserved.has(name) && isEndToEnd(name),
            'is a header that a cached route cannot send',
          ),
      )
      .max(16),
  ])
  .default([])
  .describe(
    'Request headers that the service gets and the cache key has, beside accept, accept-encoding and accept-language; no others by default. `all` sends every end-to-end header and trusts the service to name in Vary each one that its response depends on (RFC 9111, section 4.1).',
  );

/** Values of that key. */
export type RequestHeaders = z.output<typeof requestHeadersKey>;

export interface SentHeadersOptions {
  readonly requestHeaders: RequestHeaders;
  /** Whether the upstream gets authority and scheme of the client's request. */
  readonly keepHost: boolean;
  readonly forwardedHeaders: ForwardedHeaders;
}

/** Creates the function that selects what of a request a cached route sends. */
export function createSentHeaders({
  requestHeaders,
  keepHost,
  forwardedHeaders,
}: SentHeadersOptions): ReadSentHeaders {
  const authorityOf = keepHost ? (request: IncomingMessage) => authority(request, forwardedHeaders) : nothing;
  if (requestHeaders === 'all') {
    return (request) => {
      const target = authorityOf(request);
      const sent = without(endToEndHeaders(request), unsent);
      return { pairs: [...sent, ...target], keyed: target };
    };
  }
  const names = [...new Set([...negotiationHeaders, ...requestHeaders])].sort();
  return (request) => {
    const { headers } = request;
    const named = connectionOptions(headers.connection);
    const pairs = authorityOf(request);
    for (const name of names) {
      const value = headers[name];
      if (value !== undefined && !named.has(name)) pairs.push(name, String(value));
    }
    return { pairs, keyed: pairs };
  };
}

/** Headers that the gateway writes itself on a cached read, or has acted on. */
const unsent: ReadonlySet<string> = new Set([
  ...[...evaluated, ...perRequestHeaders],
  ...['authorization', 'cache-control', 'pragma'],
]);

const nothing = (): string[] => [];

/** The authority and the scheme of the target URI (RFC 9111, section 2), as the upstream gets them. */
function authority(request: IncomingMessage, forwardedHeaders: ForwardedHeaders): string[] {
  const forwarded = forwardedHeaders(request);
  const pairs = request.headers.host === undefined ? [] : ['host', request.headers.host];
  for (const name of ['x-forwarded-host', 'x-forwarded-proto'])
    for (const value of valuesOf(forwarded, name)) pairs.push(name, value);
  return pairs;
}

export interface FetchHeadersOptions {
  readonly context: RequestContext;
  /** Milliseconds that the upstream has. */
  readonly ms: number;
  /** `Authorization` of a caller that the key names; undefined for an anonymous caller. */
  readonly authorization: string | undefined;
  /** Conditions that ask whether the cached response still holds: name, value, name, value; none by default. */
  readonly conditions?: readonly string[];
}

/** Headers of a request to the upstream on a cached read: name, value, name, value. */
export function fetchHeaders(
  { pairs }: SentHeaders,
  { context, ms, authorization, conditions = [] }: FetchHeadersOptions,
): string[] {
  const headers = [...pairs, 'via', `1.1 ${pseudonym}`];
  if (authorization !== undefined) headers.push('authorization', authorization);
  for (const [name, value] of Object.entries(contextHeaders(ms, context))) headers.push(name, value);
  if (context.traceparent !== undefined) headers.push('traceparent', context.traceparent);
  headers.push(...conditions);
  return headers;
}

/** The conditions of a request: name, value, name, value. */
export function conditionsOf({ headers }: IncomingMessage): string[] {
  return [...evaluated].flatMap((name) => {
    const value = headers[name];
    return value === undefined ? [] : [name, String(value)];
  });
}
