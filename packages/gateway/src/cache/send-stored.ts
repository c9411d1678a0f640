import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { valuesOf } from '../headers/header-pairs.ts';
import type { HeaderFilter } from '../headers/passed-headers.ts';
import { isBodiless } from '../responses/is-bodiless.ts';
import { parseHttpDate } from './http-date.ts';
import type { CacheResult } from './response-cache.ts';
import type { CompleteResponse } from './stored-response.ts';

/** Headers of the stored response that a 304 includes (RFC 9110, section 15.4.5). */
const notModifiedHeaders = new Set(['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary']);

/**
 * Sends a cached response. HEAD gets no body, a range request gets 206 (RFC 9110, section 14.2), and a client whose copy is current gets
 * 304.
 * @param headers that are added to those of the response: name, value, name, value
 * @param passes which headers of the response the client gets: it may have been cached for a part of an aggregate
 */
export function sendStored(
  request: IncomingMessage,
  response: ServerResponse,
  { response: stored, outcome, ageMs }: CacheResult,
  headers: readonly string[],
  passes: HeaderFilter,
): void {
  const { status, body } = stored;
  const all = [...headers, 'X-Cache', outcome];
  if (outcome === 'hit' || outcome === 'stale' || ageMs >= 1000)
    all.push('Age', String(Math.floor(ageMs / 1000)));
  const notModified = status === 200 && isNotModified(request.headers, stored);
  const range = status === 200 && !notModified ? rangeOf(request, body.length) : undefined;
  const bodiless = isBodiless(status);
  let hasLength = false;
  for (let index = 0; index < stored.headers.length; index += 2) {
    const name = stored.headers[index] ?? '';
    const key = name.toLowerCase();
    if (key === 'age' || !passes(name) || (notModified && !notModifiedHeaders.has(key))) continue;
    if (key === 'content-length') {
      if (bodiless || range !== undefined) continue;
      hasLength = true;
    }
    all.push(name, stored.headers[index + 1] ?? '');
  }
  if (notModified) {
    response.writeHead(304, all).end();
    return;
  }
  if (range !== undefined) {
    const { from, to } = range;
    all.push('Content-Range', `bytes ${from}-${to}/${body.length}`, 'Content-Length', String(to - from + 1));
    response.writeHead(206, all).end(body.subarray(from, to + 1));
    return;
  }
  if (!hasLength && !bodiless) all.push('Content-Length', String(body.length));
  response.writeHead(status, all);
  response.end(request.method === 'HEAD' ? undefined : body);
}

/**
 * Whether the client's copy is current: by `If-None-Match`, or without it by `If-Modified-Since` (RFC 9110, section 13.2.2). `Date` replaces
 * a missing `Last-Modified` (RFC 9111, section 4.3.2).
 */
function isNotModified(request: IncomingHttpHeaders, { headers }: CompleteResponse): boolean {
  const tags = request['if-none-match'];
  if (tags !== undefined) {
    if (tags.trim() === '*') return true;
    const [tag] = valuesOf(headers, 'etag');
    return tag !== undefined && matchesTag(tags, tag);
  }
  const since = parseHttpDate(request['if-modified-since'] ?? '');
  if (since === undefined) return false;
  const [modified] = [...valuesOf(headers, 'last-modified'), ...valuesOf(headers, 'date')];
  const modifiedAt = parseHttpDate(modified ?? '');
  return modifiedAt !== undefined && modifiedAt <= since;
}

/** A byte range; both ends are inclusive. */
interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/**
 * Returns the byte range that a GET requests of a body of `length` bytes (RFC 9110, section 14.1.2). Undefined if the request has no
 * `Range`, has several ranges, or has a range outside the body.
 */
export function rangeOf({ method, headers }: IncomingMessage, length: number): ByteRange | undefined {
  if (headers.range === undefined || method !== 'GET') return undefined;
  const [, first = '', last = ''] = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(headers.range) ?? [];
  if (first === '') {
    const bytes = Math.min(Number(last), length);
    return bytes > 0 ? { from: length - bytes, to: length - 1 } : undefined;
  }
  const from = Number(first);
  const to = last === '' ? length - 1 : Math.min(Number(last), length - 1);
  return from <= to && (last === '' || from <= Number(last)) ? { from, to } : undefined;
}

/** Whether `If-None-Match` contains the entity tag, by weak comparison (RFC 9110, section 13.1.2). */
function matchesTag(header: string, tag: string): boolean {
  const opaque = tag.replace(/^W\//, '');
  return header.match(/"[^"]*"/g)?.some((candidate) => candidate === opaque) ?? false;
}
