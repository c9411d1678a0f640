import { hash } from 'node:crypto';
import type { RequestHandler } from 'express';

/**
 * Creates a handler that sends content which does not change while the process runs. Its strong tag lets a client that has it already
 * ask for a 304 instead (RFC 9110, section 13.1.2); `no-cache` makes clients ask each time, so none shows the content of an older release.
 * @param type file extension or media type, as `response.type` takes it
 */
export function createFixedContent(type: string, text: string): RequestHandler {
  const body = Buffer.from(text);
  const tag = `"${hash('sha256', body, 'base64url')}"`;
  return (_request, response) => {
    response.setHeader('ETag', tag);
    response.setHeader('Cache-Control', 'no-cache');
    // It answers 304 where the request allows that, and HEAD without the body.
    response.type(type).send(body);
  };
}
