import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ProblemDetails, problemType, problemTypes } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { ErrorRequestHandler, RequestHandler } from 'express';
import { Failure } from '../failure.ts';
import type { Logger } from '../logging/logger.ts';
import { currentContext, type RequestContext } from '../request-context.ts';
import { setCutOff } from './request-observer.ts';

/** Answers every path that no route before it took. */
export const notFound: RequestHandler = () => {
  throw new Failure('not-found');
};

/** Answers a known path with a method it does not have. */
export function methodNotAllowed(allowed: readonly string[]): RequestHandler {
  return () => {
    throw new Failure('method-not-allowed', { headers: { Allow: allowed.join(', ') } });
  };
}

/** The one place where errors become answers. An error that is not a `Failure` is a fault: logged, and told as 500. */
export function problemHandler({ logger }: { logger: Logger }): ErrorRequestHandler {
  return (error, request, response, _next) => {
    const failure = asFailure(error);
    logFailure(logger, failure);
    sendProblem(request, response, failure);
  };
}

/** Logs what the caller is not told: the stack of a fault, the cause of a failure that has one. */
export function logFailure(
  logger: Logger,
  failure: Failure,
  context: RequestContext | undefined = currentContext(),
): void {
  if (failure.cause === undefined && failure.code !== 'internal-error') return;
  const line = { err: failure.cause, ...(context && { correlation_id: context.correlationId }) };
  if (failure.code === 'internal-error') logger.error(line, 'fault');
  else logger.warn({ ...line, problem: failure.code }, 'failed');
}

/**
 * Answers with RFC 9457 problem details. Once the head of an answer is out nothing true can be said any more: the
 * connection is cut, so that half an answer is never taken for a whole one.
 */
export function sendProblem(request: IncomingMessage, response: ServerResponse, failure: Failure): void {
  if (writeProblem(request, response, failure)) response.end();
}

/**
 * As `sendProblem`, but leaves the answer to be ended; false when the connection was cut instead.
 * @param before headers that come before those of the problem: name, value, name, value; none by default
 */
export function writeProblem(
  request: IncomingMessage,
  response: ServerResponse,
  failure: Failure,
  context: RequestContext | undefined = currentContext(),
  before: readonly string[] = [],
): boolean {
  if (response.headersSent) {
    setCutOff(response, problemTypes[failure.code].status);
    response.destroy();
    return false;
  }
  const { status } = problemTypes[failure.code];
  const { headers, body } = problemMessage(failure, context?.correlationId ?? '', pathOf(request));
  // One list: under overload most answers are refusals, which must cost little.
  response.writeHead(status, [...before, ...Object.entries(failure.headers).flat(), ...headers]);
  response.write(body);
  return true;
}

/** Headers and body of a response with problem details. */
export interface ProblemMessage {
  /** Name, value, name, value. */
  readonly headers: readonly string[];
  readonly body: string;
}

/** Serializes a failure (RFC 9457). @param instance path of the request; undefined when the request could not be parsed */
export function problemMessage(
  { code, detail, errors }: Pick<Failure, 'code'> & Partial<Pick<Failure, 'detail' | 'errors'>>,
  correlationId: string,
  instance?: string,
): ProblemMessage {
  const { status, title } = problemTypes[code];
  const details: ProblemDetails = {
    type: problemType(code),
    title,
    status,
    ...(detail !== undefined && { detail }),
    ...(instance !== undefined && { instance }),
    correlation_id: correlationId,
    ...(errors !== undefined && { errors: [...errors] }),
  };
  const body = JSON.stringify(details);
  return {
    headers: [
      ...['Content-Type', 'application/problem+json; charset=utf-8'],
      ...['Content-Length', String(Buffer.byteLength(body))],
      ...['Cache-Control', 'no-store', headerNames.problem, code],
    ],
    body,
  };
}

/** What an error is to the caller; the parsers of Express and Node tell by `type` and `status`. */
function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const { type, status } = (error ?? {}) as { type?: unknown; status?: unknown };
  if (type === 'entity.too.large') return new Failure('payload-too-large');
  if (type === 'encoding.unsupported') return new Failure('unsupported-media-type');
  if (typeof status === 'number' && status >= 400 && status < 500) return new Failure('invalid-request');
  return new Failure('internal-error', { cause: error });
}

/** Without the query, which may hold what the caller would not want in a log. */
function pathOf(request: IncomingMessage): string {
  const url = (request as { originalUrl?: string }).originalUrl ?? request.url ?? '';
  return url.split('?', 1)[0] ?? '';
}
