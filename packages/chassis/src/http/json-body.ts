import { MIMEType } from 'node:util';
import express, { type RequestHandler } from 'express';
import { Failure } from '../failure.ts';
import { currentContext } from '../request-context.ts';
import { parseExactJson } from './exact-json.ts';
import { hasBody } from './has-body.ts';

/** Bytes of a body that are read at most, after its content coding is undone. */
const bodyLimit = 100 * 1024;

/** JSON is UTF-8 (RFC 8259, section 8.1), of which US-ASCII is a part; `utf8` is a common misspelling of the name. */
const charsets = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii']);

const readBytes = express.raw({ limit: bodyLimit, type: 'application/json' });

const requireJson: RequestHandler = (request, _response, next) => {
  if (!hasBody(request))
    throw new Failure('invalid-request', { detail: 'The request needs a body of JSON.' });
  if (!request.is('application/json') || !charsets.has(charsetOf(request.get('content-type'))))
    throw new Failure('unsupported-media-type');
  // RFC 9110, section 8.4.1.3; the parser knows the first name only.
  if (request.headers['content-encoding']?.toLowerCase() === 'x-gzip')
    request.headers['content-encoding'] = 'gzip';
  next();
};

const parseBytes: RequestHandler = (request, _response, next) => {
  request.body = parseExactJson(decode(request.body, charsetOf(request.get('content-type'))));
  next();
};

/** The time of a request ends no sooner because its client takes a while to send the body. */
const readWithoutHurry: RequestHandler = (request, response, next) => {
  const begun = performance.now();
  const deadline = currentContext()?.deadline;
  readBytes(request, response, (error) => {
    deadline?.extend(performance.now() - begun);
    next(error);
  });
};

/** Middleware that makes `request.body` what the JSON of the body says. Bytes that are not of its charset are a 400. */
export const jsonBody: readonly RequestHandler[] = [requireJson, readWithoutHurry, parseBytes];

function charsetOf(contentType = ''): string {
  return new MIMEType(contentType).params.get('charset')?.toLowerCase() ?? 'utf-8';
}

/** Bytes that are no UTF-8 would be replaced by U+FFFD otherwise, and stored as that. */
function decode(bytes: Uint8Array, charset: string): string {
  if (charset.endsWith('ascii') && bytes.some((byte) => byte > 0x7f))
    throw new Failure('invalid-request', { detail: 'The body is not US-ASCII, as its media type says.' });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Failure('invalid-request', { detail: 'The body is not UTF-8.' });
  }
}
