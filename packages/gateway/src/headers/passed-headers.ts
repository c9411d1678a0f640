import type { IncomingMessage } from 'node:http';
import type { RequestContext } from '@zerda/chassis/request-context';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { AttemptHeaders } from '@zerda/upstream/attempt';
import { contextHeaders } from '@zerda/upstream/upstream';
import { type ForwardedHeaders, isForwardedHeader } from './forwarded-headers.ts';
import { without } from './header-pairs.ts';
import { isUntrusted } from './untrusted-headers.ts';

/** Returns whether a header is forwarded, given its name as the sender wrote it. */
export type HeaderFilter = (name: string) => boolean;

/** Limits of a filter's cache: number of names, and characters of a name. */
const maxCachedNames = 1000;
const maxCachedNameLength = 64;

/** Creates a filter that caches its decision for each spelling of a name. @param passesName gets the name in lower case */
function createFilter(passesName: (key: string) => boolean): HeaderFilter {
  const decisions = new Map<string, boolean>();
  return (name) => {
    const cached = decisions.get(name);
    if (cached !== undefined) return cached;
    const passes = passesName(name.toLowerCase());
    if (decisions.size < maxCachedNames && name.length <= maxCachedNameLength) decisions.set(name, passes);
    return passes;
  };
}

/** Hop-by-hop headers (RFC 9110, section 7.6.1), and `Trailer`, because the gateway does not forward trailers. */
const hopByHopHeaders = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Headers of the client's trace, which the gateway reads and replaces with those of its own. */
export const traceHeaders: readonly string[] = ['traceparent', 'tracestate', 'baggage'];

/** Request headers that the gateway replaces or has already processed. */
const replacedHeaders = new Set<string>([
  'expect',
  'host',
  'via',
  headerNames.correlationId,
  headerNames.requestTimeout,
  ...traceHeaders,
]);

/** Returns whether a request header may be forwarded as the client sent it. @param key its name in lower case */
export function isEndToEnd(key: string): boolean {
  return (
    !hopByHopHeaders.has(key) && !replacedHeaders.has(key) && !isForwardedHeader(key) && !isUntrusted(key)
  );
}

const passesRequest = createFilter(isEndToEnd);

/** Name of the gateway in `Via` (RFC 9110, section 7.6.3). */
export const pseudonym = 'zerda';

export interface PassedRequestOptions {
  readonly context: RequestContext;
  readonly attempt: AttemptHeaders;
  readonly forwardedHeaders: ForwardedHeaders;
  /** Whether the upstream gets the caller's `Host` instead of its own. */
  readonly keepHost: boolean;
}

/** Returns the headers of the forwarded request: name, value, name, value. */
export function passedRequestHeaders(
  request: IncomingMessage,
  { context, attempt, forwardedHeaders, keepHost }: PassedRequestOptions,
): string[] {
  const { headers } = request;
  const passed = endToEndHeaders(request);
  passed.push(...contextHeaders(attempt, context), ...forwardedHeaders(request));
  const via = headers.via === undefined ? '' : `${headers.via}, `;
  passed.push('via', `${via}${request.httpVersion} ${pseudonym}`);
  if (keepHost && headers.host !== undefined) passed.push('host', headers.host);
  return passed;
}

/** Returns the request headers that are forwarded as the client sent them: name, value, name, value. */
export function endToEndHeaders({ rawHeaders, headers }: IncomingMessage): string[] {
  const connectionHeaders = connectionOptions(headers.connection);
  const passed: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (passesRequest(name) && (connectionHeaders === noNames || !connectionHeaders.has(name.toLowerCase())))
      passed.push(name, rawHeaders[index + 1] ?? '');
  }
  return passed;
}

/**
 * Creates the filter of the response headers that are forwarded.
 * @param gatewayHeaders names, in lower case, of headers that only the gateway may set
 */
export function createResponseFilter(gatewayHeaders: ReadonlySet<string>): HeaderFilter {
  return createFilter((key) => !hopByHopHeaders.has(key) && !gatewayHeaders.has(key));
}

/**
 * Returns the headers of the forwarded response: name, value, name, value. Bytes are decoded as Latin-1, which Node
 * encodes back unchanged.
 * @param passes filter of the upstream's headers; headers named by `Connection` are removed in any case
 * @param prepended headers that come first; none by default
 */
export function passedResponseHeaders(
  raw: readonly Buffer[],
  passes: HeaderFilter,
  prepended: readonly string[] = [],
): string[] {
  const passed = [...prepended];
  let connectionHeaders = noNames;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]?.toString('latin1') ?? '';
    if (passes(name)) passed.push(name, raw[index + 1]?.toString('latin1') ?? '');
    else if (name.toLowerCase() === 'connection')
      connectionHeaders = union(connectionHeaders, connectionOptions(raw[index + 1]?.toString('latin1')));
  }
  return connectionHeaders === noNames
    ? passed
    : [...prepended, ...without(passed.slice(prepended.length), connectionHeaders)];
}

/** Returns the names, in lower case, of the headers that a `Connection` header declares hop-by-hop. */
export function connectionOptions(header: string | undefined): ReadonlySet<string> {
  if (header === undefined || header === 'keep-alive' || header === 'close') return noNames;
  return new Set(header.split(',').map((option) => option.trim().toLowerCase()));
}

/** Merges the lists of repeated headers. */
function union(names: ReadonlySet<string>, more: ReadonlySet<string>): ReadonlySet<string> {
  return names === noNames ? more : new Set([...names, ...more]);
}

const noNames: ReadonlySet<string> = new Set();
