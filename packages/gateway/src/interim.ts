import type { IncomingMessage, ServerResponse } from 'node:http';
import { type HeaderFilter, passedAnswerHeaders } from './passed-headers.ts';

/**
 * Passes an interim response on, but to a client of HTTP/1.0, which does not know of them (RFC 9110, section 15.2), and to one that has its
 * answer already. False when it stays here.
 */
export function passInterim(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  raw: readonly Buffer[],
  passes: HeaderFilter,
): boolean {
  if (request.httpVersionMinor === 0 || response.headersSent || response.destroyed) return false;
  // They cannot be held back as bodies are, and must not pile up for a client that does not read.
  if (response.writableLength > response.writableHighWaterMark) return false;
  if (status === 102) response.writeProcessing();
  else if (status !== 103 || !writeEarlyHints(response, passedAnswerHeaders(raw, passes))) return false;
  return true;
}

/** Node takes hints only with links, and only links of a form it knows; others are hints that nobody gets. */
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
