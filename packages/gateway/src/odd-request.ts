import type { IncomingMessage } from 'node:http';
import { Failure } from '@zerda/chassis/failure';
import { connectionOptions } from './passed-headers.ts';

/**
 * Why a request is none that could be answered, whatever it asks for; undefined for one that could. Node's parser has refused
 * what is plainly wrong before; this is what it lets pass and another parser could read in another way, or not at all.
 */
export function oddityOf(request: IncomingMessage): Failure | undefined {
  const { rawHeaders, headers, httpVersionMajor, httpVersionMinor } = request;
  if (httpVersionMajor !== 1 || httpVersionMinor > 1)
    return refusal('HTTP/1.1 and HTTP/1.0 are spoken here, no other version.');
  // Above 2000 Node drops headers without a word; nobody needs as many as these.
  if (rawHeaders.length > 2 * mostHeaders) return new Failure('too-many-headers');
  if (headers.host === undefined && httpVersionMinor === 1) return refusal('The Host header is missing.');
  if (repeatsHeader(rawHeaders)) return refusal('A header comes twice that may come once.');
  const coding = headers['transfer-encoding'];
  // RFC 9112, section 6.1: other codings are not understood here, and HTTP/1.0 knows of none.
  if (coding !== undefined && (httpVersionMinor === 0 || !/^chunked$/i.test(coding)))
    return refusal('The body has another transfer coding than chunked.');
  // RFC 9110, section 10.1.1; the expectation means nothing in HTTP/1.0.
  if (headers.expect !== undefined && httpVersionMinor === 1 && !/^100-continue$/i.test(headers.expect))
    return new Failure('expectation-failed');
  return httpVersionMinor === 1 && asksForWebSocket(headers) ? new Failure('upgrade-unsupported') : undefined;
}

/** Headers that a request has at most. */
const mostHeaders = 256;

function refusal(detail: string): Failure {
  return new Failure('invalid-request', { detail });
}

/**
 * Clients offer other protocols, such as TLS or HTTP/2, and go on with HTTP/1.1 if the server ignores it, as it may (RFC 9110, section
 * 7.8). Only a client of WebSocket cannot use any other response (RFC 6455, section 4.1).
 */
function asksForWebSocket({ upgrade, connection }: IncomingMessage['headers']): boolean {
  if (upgrade === undefined || !connectionOptions(connection).has('upgrade')) return false;
  return upgrade.split(',').some((protocol) => /^websocket(\/|$)/i.test(protocol.trim()));
}

/** Headers that mean one thing: who reads the first and who reads the last would see two requests in one. */
const once: ReadonlySet<string> = new Set(['host', 'authorization', 'content-length', 'content-type']);

/**
 * Whether a header is there twice that may be there once (RFC 9112, section 3.2; RFC 9110, section 5.3). Node shows the first
 * and drops the rest, but passes all of them on.
 */
function repeatsHeader(rawHeaders: readonly string[]): boolean {
  let seen = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const bit = bits.get(name.length);
    if (bit === undefined || !once.has(name.toLowerCase())) continue;
    if ((seen & bit) !== 0) return true;
    seen |= bit;
  }
  return false;
}

/** Their lengths are all different, and tell most other headers apart at no cost. */
const bits: ReadonlyMap<number, number> = new Map([...once].map((name, index) => [name.length, 1 << index]));
