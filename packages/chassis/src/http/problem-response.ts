import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ProblemDetails, problemType, problemTypes } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { ErrorRequestHandler, RequestHandler } from 'express';
import { Failure } from '../failure.ts';
import type { Logger } from '../logging/logger.ts';
import {
  currentContext,
  type IdentifiedRequest,
  type RequestContext,
  requestLogFields,
} from '../request-context.ts';
import { traceIdOf } from '../tracing/traceparent.ts';
import { entityTag } from './entity-tag.ts';
import { setAbortStatus } from './request-observer.ts';

/** Returns 404 for every path that no route matches. */
export const notFound: RequestHandler = () => {
  throw new Failure('not-found');
};

/** Returns 405 for unsupported methods of a known path. @param allowed methods that the path supports */
export function methodNotAllowed(allowed: readonly string[]): RequestHandler {
  return () => {
    throw new Failure('method-not-allowed', { allowedMethods: allowed });
  };
}

/** Error handler that logs errors and sends them as problem details. Errors other than `Failure` become a 500. */
export function problemHandler({ logger }: { logger: Logger }): ErrorRequestHandler {
  return (error, request, response, _next) => sendError(request, response, error, logger);
}

/** Logs an error and sends it as problem details, for listeners without Express. Errors other than `Failure` become a 500. */
export function sendError(
  request: IncomingMessage,
  response: ServerResponse,
  error: unknown,
  logger: Pick<Logger, 'warn' | 'error'>,
): void {
  const failure = toFailure(error);
  logFailure(logger, failure);
  sendProblem(request, response, failure);
}

/** Logs what the caller does not see: the stack of an internal error, the cause of any other failure. */
export function logFailure(
  logger: Pick<Logger, 'warn' | 'error'>,
  failure: Failure,
  context: RequestContext | undefined = currentContext(),
): void {
  if (failure.cause === undefined && failure.code !== 'internal-error') return;
  const line = { err: failure.cause, ...(context && requestLogFields(context)) };
  if (failure.code === 'internal-error') logger.error(line, 'fault');
  else logger.warn({ ...line, problem: failure.code }, 'failed');
}

/**
 * Sends problem details (RFC 9457). If the head of the response is already sent, destroys the connection instead, so that the client
 * does not mistake a partial response for a complete one.
 */
export function sendProblem(request: IncomingMessage, response: ServerResponse, failure: Failure): void {
  if (writeProblem(request, response, failure)) response.end();
}

/**
 * Writes a problem like `sendProblem`, but does not end the response.
 * @param leadingHeaders headers before those of the problem (name, value, name, value); none by default
 * @returns false if the connection was destroyed instead
 */
export function writeProblem(
  request: IncomingMessage,
  response: ServerResponse,
  failure: Failure,
  context: RequestContext | undefined = currentContext(),
  leadingHeaders: readonly string[] = [],
): boolean {
  if (response.headersSent) {
    setAbortStatus(response, problemTypes[failure.code].status);
    response.destroy();
    return false;
  }
  const { status } = problemTypes[failure.code];
  const { headers, body } = problemMessage(failure, context, pathOf(request));
  // A flat list is cheapest. Under overload, most responses are problems.
  response.writeHead(status, [...leadingHeaders, ...failureHeaders(failure), ...headers]);
  response.write(body);
  return true;
}

/** Headers and body of a response with problem details. */
export interface ProblemMessage {
  /** Flat list: name, value, name, value. */
  readonly headers: readonly string[];
  readonly body: string;
}

/**
 * Serializes a failure (RFC 9457).
 * @param context identifies the request in logs and traces
 * @param instance path of the request; undefined if the request could not be parsed
 */
export function problemMessage(
  { code, detail, errors }: Pick<Failure, 'code'> & Partial<Pick<Failure, 'detail' | 'errors'>>,
  context: IdentifiedRequest | undefined,
  instance?: string,
): ProblemMessage {
  const { status, title } = problemTypes[code];
  const details: ProblemDetails = {
    type: problemType(code),
    title,
    status,
    ...(detail !== undefined && { detail }),
    ...(instance !== undefined && { instance }),
    correlation_id: context?.correlationId ?? '',
    ...(context?.traceparent !== undefined && { trace_id: traceIdOf(context.traceparent) }),
    ...(errors !== undefined && { errors: [...errors] }),
  };
  const body = JSON.stringify(details);
  return {
    headers: [
      'Content-Type',
      'application/problem+json; charset=utf-8',
      'Content-Length',
      String(Buffer.byteLength(body)),
      'Cache-Control',
      'no-store',
      headerNames.problem,
      code,
    ],
    body,
  };
}

/** Returns the headers of a failure as a flat list: name, value, name, value. */
function failureHeaders({ retryAfterSeconds, challenge, allowedMethods, version }: Failure): string[] {
  const headers: string[] = [];
  if (retryAfterSeconds !== undefined) headers.push('Retry-After', String(retryAfterSeconds));
  if (challenge !== undefined) headers.push('WWW-Authenticate', challenge);
  if (allowedMethods !== undefined) headers.push('Allow', allowedMethods.join(', '));
  if (version !== undefined) headers.push('ETag', entityTag(version));
  return headers;
}

/** Converts an error to a failure. Errors of the Express parsers have a `type` and a `status`. */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const { type, status } = (error ?? {}) as { type?: unknown; status?: unknown };
  if (type === 'entity.too.large') return new Failure('payload-too-large');
  if (type === 'encoding.unsupported') return new Failure('unsupported-media-type');
  if (typeof status === 'number' && status >= 400 && status < 500) return new Failure('invalid-request');
  return new Failure('internal-error', { cause: error });
}

/** Returns the path without the query, which may hold sensitive data. */
function pathOf(request: IncomingMessage): string {
  const url = (request as { originalUrl?: string }).originalUrl ?? request.url ?? '';
  return url.split('?', 1)[0] ?? '';
}
