import { MIMEType } from 'node:util';
import express, { type RequestHandler } from 'express';
import { Failure } from '../failure.ts';
import { currentContext } from '../request-context.ts';
import { parseExactJson } from './exact-json.ts';
import { hasBody } from './has-body.ts';

/** Maximum size of a body in bytes, after decompression. */
const bodyLimit = 100 * 1024;

/** Accepted charsets. JSON is UTF-8 (RFC 8259, section 8.1), which includes US-ASCII; `utf8` is a common misspelling. */
const charsets = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii']);

const readBytes = express.raw({ limit: bodyLimit, type: 'application/json' });

const requireJson: RequestHandler = (request, _response, next) => {
  if (!hasBody(request))
    throw new Failure('invalid-request', { detail: 'The request must have a JSON body.' });
  if (!request.is('application/json') || !charsets.has(charsetOf(request.get('content-type'))))
    throw new Failure('unsupported-media-type');
  // `x-gzip` equals `gzip` (RFC 9110, section 8.4.1.3), but the parser supports only `gzip`.
  if (request.headers['content-encoding']?.toLowerCase() === 'x-gzip')
    request.headers['content-encoding'] = 'gzip';
  next();
};

const parseBytes: RequestHandler = (request, _response, next) => {
  request.body = parseExactJson(decode(request.body, charsetOf(request.get('content-type'))));
  next();
};

/** Reads the body and extends the deadline by the time that the client took to send it. */
const readBytesAndExtendDeadline: RequestHandler = (request, response, next) => {
  const startedAt = performance.now();
  const deadline = currentContext()?.deadline;
  readBytes(request, response, (error) => {
    deadline?.extend(performance.now() - startedAt);
    next(error);
  });
};

/** Middleware that parses a JSON body into `request.body`. Bytes that are invalid in the charset result in 400. */
export const jsonBody: readonly RequestHandler[] = [requireJson, readBytesAndExtendDeadline, parseBytes];

function charsetOf(contentType = ''): string {
  return new MIMEType(contentType).params.get('charset')?.toLowerCase() ?? 'utf-8';
}

/** Decodes strictly. By default, invalid bytes would become U+FFFD and be stored as such. */
function decode(bytes: Uint8Array, charset: string): string {
  if (charset.endsWith('ascii') && bytes.some((byte) => byte > 0x7f))
    throw new Failure('invalid-request', { detail: 'The body is not valid US-ASCII.' });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Failure('invalid-request', { detail: 'The body is not valid UTF-8.' });
  }
}
