import type { IncomingMessage } from 'node:http';

/**
 * Converts a request target in absolute form to origin form. The path and the authority of the URL replace the target
 * and the `Host` header (RFC 9112, section 3.2.2).
 */
export function takeOriginForm(request: IncomingMessage): void {
  const { url = '' } = request;
  if (url.startsWith('/')) return;
  const [, authority, path = ''] = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url) ?? [];
  if (authority === undefined) return;
  request.url = path.startsWith('/') ? path : `/${path}`;
  // HTTP/1.1 requires a Host header in this form too (RFC 9112, section 3.2), so a missing one stays missing.
  if (request.headers.host !== undefined || request.httpVersionMinor === 0)
    request.headers.host = authority.replace(/^.*@/, '');
}
