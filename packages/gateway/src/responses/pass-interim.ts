import type { IncomingMessage, ServerResponse } from 'node:http';
import { type HeaderFilter, passedResponseHeaders } from '../headers/passed-headers.ts';

/**
 * Forwards an interim response and returns true. Returns false for HTTP/1.0 clients, which do not support interim
 * responses (RFC 9110, section 15.2), and after the final response has started.
 */
export function passInterim(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  raw: readonly Buffer[],
  passes: HeaderFilter,
): boolean {
  if (request.httpVersionMinor === 0 || response.headersSent || response.destroyed) return false;
  // Interim responses have no backpressure and must not pile up for a client that does not read.
  if (response.writableLength > response.writableHighWaterMark) return false;
  if (status === 102) response.writeProcessing();
  else if (status !== 103 || !writeEarlyHints(response, passedResponseHeaders(raw, passes))) return false;
  return true;
}

/** Returns false for hints that Node does not send: those without a `Link` header or with one that it cannot parse. */
function writeEarlyHints(response: ServerResponse, headers: readonly string[]): boolean {
  const hints: Record<string, string> = {};
  const link: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    const [name = '', value = ''] = headers.slice(index, index + 2);
    const key = name.toLowerCase();
    if (key === 'link') link.push(...value.split(/,\s*(?=<)/));
    else if (key !== 'content-length') hints[name] = value;
  }
  if (link.length === 0) return false;
  try {
    response.writeEarlyHints({ ...hints, link });
    return true;
  } catch {
    return false;
  }
}
