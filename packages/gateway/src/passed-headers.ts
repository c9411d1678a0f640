import type { IncomingMessage } from 'node:http';
import { type AnswerHeaders, createAnswerHeaders } from '@zerda/chassis/http/answer-headers';
import { contextHeaders } from '@zerda/chassis/http-client/upstream';
import type { RequestContext } from '@zerda/chassis/request-context';
import { headerNames } from '@zerda/contracts/protocol/headers';
import { type ForwardedHeaders, isForwardedHeader } from './forwarded-headers.ts';
import { without } from './header-pairs.ts';
import { isUntrusted } from './untrusted-headers.ts';

/** Whether a header goes on, by its name as the sender wrote it. */
export type HeaderFilter = (name: string) => boolean;

/** Names that a filter remembers at most, and characters of them: those of real senders are few and short. */
const mostKnown = 1000;
const longestKnown = 64;

/** Decides once for each spelling of a name. @param goesOn is asked with the name in lower case */
function createFilter(goesOn: (key: string) => boolean): HeaderFilter {
  const known = new Map<string, boolean>();
  return (name) => {
    const remembered = known.get(name);
    if (remembered !== undefined) return remembered;
    const passes = goesOn(name.toLowerCase());
    if (known.size < mostKnown && name.length <= longestKnown) known.set(name, passes);
    return passes;
  };
}

/** What concerns one connection only (RFC 9110, section 7.6.1), with the trailers that are not passed on. */
const hopByHop = new Set([
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

/** Headers of a request that the gateway writes itself, or has already obeyed. */
const replaced = new Set<string>([
  'expect',
  'host',
  'via',
  headerNames.correlationId,
  headerNames.requestTimeout,
]);

/** Whether a request header, its name in lower case, may be forwarded as the client sent it. */
export function isEndToEnd(key: string): boolean {
  return !hopByHop.has(key) && !replaced.has(key) && !isForwardedHeader(key) && !isUntrusted(key);
}

const passesRequest = createFilter(isEndToEnd);

/** Name of the gateway in `Via` (RFC 9110, section 7.6.3). */
export const pseudonym = 'zerda';

export interface PassedRequestOptions {
  readonly context: RequestContext;
  /** Milliseconds that the upstream has. */
  readonly ms: number;
  readonly forwardedHeaders: ForwardedHeaders;
  /** Whether the upstream gets the caller's `Host` instead of its own. */
  readonly keepHost: boolean;
}

/** Headers that a request goes on with: name, value, name, value. */
export function passedRequestHeaders(
  request: IncomingMessage,
  { context, ms, forwardedHeaders, keepHost }: PassedRequestOptions,
): string[] {
  const { headers } = request;
  const passed = endToEndHeaders(request);
  for (const [name, value] of Object.entries(contextHeaders(ms, context))) passed.push(name, value);
  passed.push(...forwardedHeaders(request));
  const via = headers.via === undefined ? '' : `${headers.via}, `;
  passed.push('via', `${via}${request.httpVersion} ${pseudonym}`);
  if (keepHost && headers.host !== undefined) passed.push('host', headers.host);
  return passed;
}

/** Headers of a request that are forwarded as the client sent them: name, value, name, value. */
export function endToEndHeaders({ rawHeaders, headers }: IncomingMessage): string[] {
  const named = connectionOptions(headers.connection);
  const passed: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (passesRequest(name) && (named === none || !named.has(name.toLowerCase())))
      passed.push(name, rawHeaders[index + 1] ?? '');
  }
  return passed;
}

/**
 * Headers that the gateway puts on every response that it passes on, instead of the service's: a type is never guessed, and the correlation
 * id is that of the request.
 */
export function createAnswerGuards(): AnswerHeaders {
  return createAnswerHeaders({
    contentSecurityPolicy: false,
    crossOriginOpenerPolicy: false,
    crossOriginResourcePolicy: false,
    originAgentCluster: false,
    referrerPolicy: false,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xFrameOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
  });
}

const transportSecurity = ['Strict-Transport-Security', 'max-age=31536000; includeSubDomains'] as const;

/** Headers by which a browser uses HTTPS from then on: only over HTTPS (RFC 6797, section 7.2). */
export function transportSecurityOf(secure: boolean): readonly string[] {
  return secure ? transportSecurity : [];
}

/** Security headers that a response gets where its service is silent: what pages may embed or reveal, the service knows better. */
const defaults = [['X-Frame-Options', 'SAMEORIGIN'] as const, ['Referrer-Policy', 'no-referrer'] as const];

/**
 * Returns the security headers that a response lacks: name, value, name, value.
 * @param pairs headers of the response
 * @param secure whether its client asked over HTTPS
 */
export function missingSecurityHeaders(pairs: readonly string[], secure: boolean): string[] {
  const missing: string[] = [];
  for (const [name, value] of defaults) if (!hasHeader(pairs, name)) missing.push(name, value);
  if (secure && !hasHeader(pairs, transportSecurity[0])) missing.push(...transportSecurity);
  return missing;
}

function hasHeader(pairs: readonly string[], name: string): boolean {
  for (let index = 0; index < pairs.length; index += 2) {
    const candidate = pairs[index] ?? '';
    // Most names differ in length, which costs nothing to see.
    if (candidate.length === name.length && candidate.toLowerCase() === name.toLowerCase()) return true;
  }
  return false;
}

/** Which headers of an answer go back. @param own names, in lower case, of those that the gateway writes and no upstream can */
export function createAnswerFilter(own: ReadonlySet<string>): HeaderFilter {
  return createFilter((key) => !hopByHop.has(key) && !own.has(key));
}

/**
 * Headers that an answer goes back with: name, value, name, value. Bytes are read as Latin-1, which Node writes back unchanged.
 * @param passes which of them go back, but for those that `Connection` names
 * @param before headers that come before them; none by default
 */
export function passedAnswerHeaders(
  raw: readonly Buffer[],
  passes: HeaderFilter,
  before: readonly string[] = [],
): string[] {
  const passed = [...before];
  let named = none;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index]?.toString('latin1') ?? '';
    if (passes(name)) passed.push(name, raw[index + 1]?.toString('latin1') ?? '');
    else if (name.toLowerCase() === 'connection')
      named = joined(named, connectionOptions(raw[index + 1]?.toString('latin1')));
  }
  return named === none ? passed : [...before, ...without(passed.slice(before.length), named)];
}

/** Names of headers, in lower case, that the sender's `Connection` header makes hop-by-hop too. */
export function connectionOptions(header: string | undefined): ReadonlySet<string> {
  if (header === undefined || header === 'keep-alive' || header === 'close') return none;
  return new Set(header.split(',').map((option) => option.trim().toLowerCase()));
}

/** A header may come more than once, which is one list. */
function joined(names: ReadonlySet<string>, more: ReadonlySet<string>): ReadonlySet<string> {
  return names === none ? more : new Set([...names, ...more]);
}

const none: ReadonlySet<string> = new Set();
