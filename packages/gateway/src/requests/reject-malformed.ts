import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Failure } from '@zerda/chassis/failure';
import type { RequestHandler } from 'express';
import { asMiddleware, type OwnPolicies } from '../own-endpoints/own-policies.ts';
import { formOf } from '../routes/path-form.ts';
import { findMalformation } from './malformed-request.ts';

/** Connections on which the gateway reads no further request. */
const closing = new WeakSet<Socket>();

/** Returns whether a pipelined request follows a malformed one: where it starts is unknown. */
export function followsMalformed(request: IncomingMessage, response: ServerResponse): boolean {
  return response.socket === null && closing.has(request.socket);
}

/** Rejects malformed requests and closes their connections, also when the rate limit rejects the request first. */
export function createRejectMalformed({ unmatched }: Pick<OwnPolicies, 'unmatched'>): RequestHandler {
  const applyPolicies = asMiddleware(unmatched);
  return (request, response, next) => {
    const malformation = findMalformation(request);
    if (malformation === undefined) return next();
    closing.add(request.socket);
    response.shouldKeepAlive = false;
    return applyPolicies(request, response, (error) => next(error ?? malformation));
  };
}

/**
 * Rejects paths that the gateway and a service could resolve differently (RFC 9112, section 3.2). This includes encoded
 * slashes: the forwarding handler has already handled requests to routes that allow them.
 */
export function createRejectPath({ unmatched }: Pick<OwnPolicies, 'unmatched'>): RequestHandler {
  const applyPolicies = asMiddleware(unmatched);
  return (request, response, next) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const form = path === '*' ? 'plain' : formOf(path);
    if (form === 'plain') return next();
    const detail =
      form === 'slashes'
        ? 'The path contains encoded slashes, which this route does not allow.'
        : 'The path contains empty segments, dot segments or invalid characters.';
    return applyPolicies(request, response, (error) =>
      next(error ?? new Failure('invalid-request', { detail })),
    );
  };
}
