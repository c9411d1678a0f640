import { hash } from 'node:crypto';
import type { RequestHandler } from 'express';

/**
 * Creates a handler that sends content which does not change while the process runs. Clients revalidate it with its strong `ETag`
 * (RFC 9110, section 13.1.2). `no-cache` makes them do so at each use, so that they never show content of an older release.
 * @param type file extension or media type, as in `response.type`
 */
export function createFixedContent(type: string, text: string): RequestHandler {
  const body = Buffer.from(text);
  const tag = `"${hash('sha256', body, 'base64url')}"`;
  return (_request, response) => {
    response.setHeader('ETag', tag);
    response.setHeader('Cache-Control', 'no-cache');
    // `send` returns 304 if the tag matches, and no body for HEAD.
    response.type(type).send(body);
  };
}
