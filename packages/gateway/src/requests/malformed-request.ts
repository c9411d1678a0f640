import type { IncomingMessage } from 'node:http';
import { Failure } from '@zerda/chassis/failure';
import { connectionOptions } from '../headers/passed-headers.ts';

/**
 * Returns why a request is malformed; undefined when it is well-formed. Node's parser has already rejected clear errors.
 * This function rejects what Node accepts but another parser could read differently or reject.
 */
export function findMalformation(request: IncomingMessage): Failure | undefined {
  const { rawHeaders, headers, httpVersionMajor, httpVersionMinor } = request;
  if (httpVersionMajor !== 1 || httpVersionMinor > 1)
    return invalidRequest('The server supports HTTP/1.1 and HTTP/1.0 only.');
  // Node silently drops headers above 2000.
  if (rawHeaders.length > 2 * maxHeaders) return new Failure('too-many-headers');
  if (headers.host === undefined && httpVersionMinor === 1)
    return invalidRequest('The Host header is missing.');
  if (repeatsSingletonHeader(rawHeaders))
    return invalidRequest('A header that may occur only once is repeated.');
  const coding = headers['transfer-encoding'];
  // RFC 9112, section 6.1: the gateway supports no other coding, and HTTP/1.0 has none.
  if (coding !== undefined && (httpVersionMinor === 0 || !/^chunked$/i.test(coding)))
    return invalidRequest('The only supported transfer coding is chunked.');
  // RFC 9110, section 10.1.1; HTTP/1.0 has no expectations.
  if (headers.expect !== undefined && httpVersionMinor === 1 && !/^100-continue$/i.test(headers.expect))
    return new Failure('expectation-failed');
  return httpVersionMinor === 1 && isWebSocketUpgrade(headers)
    ? new Failure('upgrade-unsupported')
    : undefined;
}

/** Maximum number of headers in a request. */
const maxHeaders = 256;

function invalidRequest(detail: string): Failure {
  return new Failure('invalid-request', { detail });
}

/**
 * Returns whether the client requests an upgrade to WebSocket. A server may ignore other upgrade offers, such as TLS or
 * HTTP/2 (RFC 9110, section 7.8). Only WebSocket clients cannot continue with HTTP/1.1 (RFC 6455, section 4.1).
 */
function isWebSocketUpgrade({ upgrade, connection }: IncomingMessage['headers']): boolean {
  if (upgrade === undefined || !connectionOptions(connection).has('upgrade')) return false;
  return upgrade.split(',').some((protocol) => /^websocket(\/|$)/i.test(protocol.trim()));
}

/** Headers that may occur only once: parsers differ in whether they use the first or the last value. */
const singletonHeaders: ReadonlySet<string> = new Set([
  'host',
  'authorization',
  'content-length',
  'content-type',
]);

/**
 * Returns whether a header that may occur only once is repeated (RFC 9112, section 3.2; RFC 9110, section 5.3). In
 * `headers` Node keeps only the first, but `rawHeaders` contains all of them.
 */
function repeatsSingletonHeader(rawHeaders: readonly string[]): boolean {
  let seen = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const bit = singletonBits.get(name.length);
    if (bit === undefined || !singletonHeaders.has(name.toLowerCase())) continue;
    if ((seen & bit) !== 0) return true;
    seen |= bit;
  }
  return false;
}

/** One bit for each header, by the length of its name: all lengths differ, and the length rules out most other headers. */
const singletonBits: ReadonlyMap<number, number> = new Map(
  [...singletonHeaders].map((name, index) => [name.length, 1 << index]),
);
