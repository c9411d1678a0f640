import type { IncomingMessage } from 'node:http';

/** RFC 9112, section 6.3: a request has a body exactly when one of these two headers says so. */
export function hasBody({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
