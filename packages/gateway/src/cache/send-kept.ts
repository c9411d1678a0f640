import type { IncomingMessage, ServerResponse } from 'node:http';
import { valuesOf } from '../header-pairs.ts';
import type { HeaderFilter } from '../passed-headers.ts';
import type { Found } from './answer-cache.ts';

/** Headers that a 304 repeats (RFC 9110, section 15.4.5). */
const repeated = new Set(['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary']);

/**
 * Sends an answer out of the cache: without its body to HEAD, and 304 to who has it already.
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
  if (outcome === 'hit' || outcome === 'stale') all.push('Age', String(Math.floor(ageMs / 1000)));
  const [tag] = valuesOf(answer.headers, 'etag');
  const had = status === 200 && tag !== undefined && names(request.headers['if-none-match'], tag);
  let sized = false;
  for (let index = 0; index < answer.headers.length; index += 2) {
    const name = answer.headers[index] ?? '';
    const key = name.toLowerCase();
    if (key === 'age' || !passes(name) || (had && !repeated.has(key))) continue;
    sized ||= key === 'content-length';
    all.push(name, answer.headers[index + 1] ?? '');
  }
  if (had) {
    response.writeHead(304, all).end();
    return;
  }
  if (!sized && status !== 204) all.push('Content-Length', String(body.length));
  response.writeHead(status, all);
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Whether `If-None-Match` names the tag, by weak comparison (RFC 9110, section 13.1.2). */
function names(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  const opaque = tag.replace(/^W\//, '');
  return header.match(/"[^"]*"/g)?.some((known) => known === opaque) ?? false;
}
