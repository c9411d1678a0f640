import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { isBodiless } from '../bodiless.ts';
import { valuesOf } from '../header-pairs.ts';
import type { HeaderFilter } from '../passed-headers.ts';
import type { Found } from './answer-cache.ts';
import { parseHttpDate } from './http-date.ts';
import type { WholeAnswer } from './kept-answer.ts';

/** Headers that a 304 repeats (RFC 9110, section 15.4.5). */
const repeated = new Set(['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary']);

/**
 * Sends an answer out of the cache: without its body to HEAD, the range of it that is asked for (RFC 9110, section 14.2), and 304 to a client
 * that has it already.
 * @param headers that it gets beside its own: name, value, name, value
 * @param passes which of its own headers the client gets: it may have been cached for a part of an aggregate
 */
export function sendKept(
  request: IncomingMessage,
  response: ServerResponse,
  { answer, outcome, ageMs }: Found,
  headers: readonly string[],
  passes: HeaderFilter,
): void {
  const { status, body } = answer;
  const all = [...headers, 'X-Cache', outcome];
  if (outcome === 'hit' || outcome === 'stale' || ageMs >= 1000)
    all.push('Age', String(Math.floor(ageMs / 1000)));
  const had = status === 200 && isKnown(request.headers, answer);
  const range = status === 200 && !had ? rangeOf(request, body.length) : undefined;
  const bodiless = isBodiless(status);
  let sized = false;
  for (let index = 0; index < answer.headers.length; index += 2) {
    const name = answer.headers[index] ?? '';
    const key = name.toLowerCase();
    if (key === 'age' || !passes(name) || (had && !repeated.has(key))) continue;
    if (key === 'content-length') {
      if (bodiless || range !== undefined) continue;
      sized = true;
    }
    all.push(name, answer.headers[index + 1] ?? '');
  }
  if (had) {
    response.writeHead(304, all).end();
    return;
  }
  if (range !== undefined) {
    const { from, to } = range;
    all.push('Content-Range', `bytes ${from}-${to}/${body.length}`, 'Content-Length', String(to - from + 1));
    response.writeHead(206, all).end(body.subarray(from, to + 1));
    return;
  }
  if (!sized && !bodiless) all.push('Content-Length', String(body.length));
  response.writeHead(status, all);
  response.end(request.method === 'HEAD' ? undefined : body);
}

/**
 * Whether the client has the answer already: by `If-None-Match`, and only without it by `If-Modified-Since` (RFC 9110, section 13.2.2). An
 * answer that does not say when it last changed has not done so after it was made (RFC 9111, section 4.3.2).
 */
function isKnown(request: IncomingHttpHeaders, { headers }: WholeAnswer): boolean {
  const tags = request['if-none-match'];
  if (tags !== undefined) {
    if (tags.trim() === '*') return true;
    const [tag] = valuesOf(headers, 'etag');
    return tag !== undefined && names(tags, tag);
  }
  const since = request['if-modified-since'];
  const known = since === undefined ? undefined : parseHttpDate(since);
  if (known === undefined) return false;
  const [changed] = [...valuesOf(headers, 'last-modified'), ...valuesOf(headers, 'date')];
  const changedAt = parseHttpDate(changed ?? '');
  return changedAt !== undefined && changedAt <= known;
}

/** One range of bytes of a body. */
interface ByteRange {
  readonly from: number;
  /** The last of them. */
  readonly to: number;
}

/**
 * The range that a GET asks for, of a body of `length` bytes (RFC 9110, section 14.1.2); undefined when it asks for the whole, for more
 * ranges than one, or for none that there is.
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

/** Whether `If-None-Match` names the tag, by weak comparison (RFC 9110, section 13.1.2). */
function names(header: string, tag: string): boolean {
  const opaque = tag.replace(/^W\//, '');
  return header.match(/"[^"]*"/g)?.some((known) => known === opaque) ?? false;
}
