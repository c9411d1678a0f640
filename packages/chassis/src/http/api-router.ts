import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FieldError, ProblemCode } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { AnswerOf, InputOf, Operation, Operations } from '@zerda/contracts/protocol/operation';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { z } from 'zod';
import { bearerTokenOf, forbidden, unauthenticated } from '../auth/bearer.ts';
import { type Caller, everybody } from '../auth/caller.ts';
import type { Authentication } from '../auth/open-verifier.ts';
import { Failure } from '../failure.ts';
import type { KeyedRequest } from '../idempotency/idempotency.ts';
import { currentContext } from '../request-context.ts';
import { networkOf } from './addresses.ts';
import type { ClientAddress } from './client-address.ts';
import {
  entityTag,
  isCurrent,
  type Precondition,
  type PreconditionHeaders,
  parsePreconditions,
} from './entity-tag.ts';
import { jsonBody } from './json-body.ts';
import { methodNotAllowed } from './problem-response.ts';
import { setRoute } from './request-observer.ts';
import { routerPath } from './route-path.ts';

/** What a handler gets: the request's parts as the operation's schemas read them. */
export type Input<Op extends Operation> = InputOf<Op> & {
  /** Who asks; undefined where an operation answers everybody and nobody is named. */
  readonly caller: Op['access'] extends 'user' | 'admin' ? Caller : Caller | undefined;
  /** The request in hand, for what only it knows: the address that it came from. */
  readonly request: IncomingMessage;
  /** Present when the caller sent `If-Match` or `If-None-Match`: whether a change may be made to a version. */
  readonly precondition: Precondition | undefined;
  /** Present when the caller sent an `Idempotency-Key`. */
  readonly keyed: KeyedRequest | undefined;
};

/** What a handler answers. */
export interface Answer<Op extends Operation> {
  /** The whole body, envelope included. */
  readonly body: AnswerOf<Op>;
  /** Version of what the body shows; becomes the `ETag`. */
  readonly version?: number | undefined;
  /** Path of what was made; becomes the `Location`. */
  readonly location?: string | undefined;
  /** `Cache-Control` of the answer; by default nobody keeps it without asking whether it is current. */
  readonly cacheControl?: string | undefined;
  /** Milliseconds since the body was current; becomes `Age` (RFC 9111, section 5.1), which is left out by default. */
  readonly ageMs?: number | undefined;
  /** Whether this repeats the answer of an earlier request with the same key. */
  readonly replayed?: boolean | undefined;
}

/** One handler for each operation; a missing or surplus one does not compile. */
export type Handlers<Ops extends Operations> = {
  readonly [Name in keyof Ops]: (input: Input<Ops[Name]>) => Promise<Answer<Ops[Name]>>;
};

/** Owner of the idempotency keys of a service that runs without authentication. */
const unauthenticatedOwner = 'anonymous';

/**
 * Serves operations: finds out who asks, reads each request by its contract, calls the handler, answers with status, envelope and
 * headers as the contract has them. A known path with another method is a 405.
 * @param authentication verifies the caller; to be left out only where every operation is public
 * @param clientAddress scopes the idempotency keys of anonymous callers; without it they are ignored
 */
export function createApiRouter<Ops extends Operations>(
  operations: Ops,
  handlers: Handlers<Ops>,
  authentication?: Authentication,
  clientAddress?: ClientAddress,
): Router {
  const router = Router({ caseSensitive: true, strict: true });
  for (const [path, names] of byPath(operations)) {
    const route = router.route(routerPath(path));
    route.all((_request, response, next) => {
      setRoute(response, path);
      next();
    });
    for (const name of names) {
      const operation = operations[name] as Operation;
      const handler = handlers[name] as unknown as (input: Input<Operation>) => Promise<Answer<Operation>>;
      route[operation.method](
        authenticate(operation, authentication),
        ...(operation.body === undefined ? [] : jsonBody),
        handle(operation, handler, clientAddress),
      );
    }
    route.all(methodNotAllowed(methodsOf(names.map((name) => operations[name] as Operation))));
  }
  return router;
}

/** The methods a path has, as `Allow` lists them: who answers GET answers HEAD. */
export function methodsOf(operations: readonly Operation[]): string[] {
  return operations.flatMap(({ method }) => (method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]));
}

/** Operations by path; where two paths fit a request, the one that is literal for longer comes first. */
function byPath(operations: Operations): [string, string[]][] {
  const paths = new Map<string, string[]>();
  for (const [name, { path }] of Object.entries(operations)) {
    paths.set(path, [...(paths.get(path) ?? []), name]);
  }
  return [...paths].sort(([a], [b]) => literalLength(b) - literalLength(a));
}

function literalLength(path: string): number {
  const placeholder = path.indexOf('{');
  return placeholder === -1 ? Number.POSITIVE_INFINITY : placeholder;
}

/** Who made each request, from its authentication to its handler. */
const callers = new WeakMap<Request, Caller>();

/** Before the body is read: who may not ask need not be listened to. */
function authenticate({ id, access }: Operation, authentication: Authentication | undefined): RequestHandler {
  if (access === 'public') return (_request, _response, next) => next();
  if (authentication === undefined) throw new Error(`${id} is not public, and nobody can tell who asks`);
  if (authentication === 'off') {
    return (request, _response, next) => {
      callers.set(request, everybody);
      next();
    };
  }
  return async (request, _response, next) => {
    const token = bearerTokenOf(request.get('authorization'));
    if (token !== undefined) {
      const caller = await authentication.verify(token);
      if (access === 'admin' && caller.role !== 'admin') throw forbidden('This is for admins.');
      callers.set(request, caller);
      const context = currentContext();
      if (context !== undefined) context.subject = caller.subject;
    } else if (access !== 'optional') throw unauthenticated();
    next();
  };
}

function handle(
  operation: Operation,
  handler: (input: Input<Operation>) => Promise<Answer<Operation>>,
  clientAddress: ClientAddress | undefined,
): RequestHandler {
  return async (request, response) => {
    const input = readInput(operation, request, clientAddress);
    if (currentContext()?.deadline.expired) throw new Failure('deadline-exceeded');
    const answer = await handler(input);
    const { version } = answer;
    const isRead = operation.method === 'get' && operation.accepts?.preconditions && version !== undefined;
    if (isRead && isCurrent(preconditionHeaders(request), version)) {
      response.setHeader('ETag', entityTag(version));
      response.setHeader('Cache-Control', revalidate);
      response.status(304).end();
      return;
    }
    sendAnswer(operation, response, answer);
  };
}

function readInput(
  operation: Operation,
  request: Request,
  clientAddress: ClientAddress | undefined,
): Input<Operation> {
  const accepts = operation.accepts ?? {};
  const body = parse(operation.body, request.body, 'validation-failed');
  return {
    caller: callers.get(request),
    request,
    params: parse(operation.params, request.params, 'invalid-request'),
    query: parse(operation.query, request.query, 'invalid-request'),
    body,
    precondition: accepts.preconditions ? parsePreconditions(preconditionHeaders(request)) : undefined,
    keyed: accepts.idempotencyKey ? keyOf(operation, request, body, clientAddress) : undefined,
  } as Input<Operation>;
}

function preconditionHeaders(request: Request): PreconditionHeaders {
  return { ifMatch: request.get('if-match'), ifNoneMatch: request.get('if-none-match') };
}

function parse(schema: z.ZodObject | undefined, value: unknown, code: ProblemCode): unknown {
  if (schema === undefined) return undefined;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new Failure(code, { errors: result.error.issues.flatMap(fieldErrors) });
}

function fieldErrors(issue: z.core.$ZodIssue): FieldError[] {
  const path = issue.path.map(String);
  if (issue.code !== 'unrecognized_keys') return [{ path: path.join('.'), message: issue.message }];
  return issue.keys.map((key) => ({
    path: [...path, key].join('.'),
    message: 'is not a member this operation knows',
  }));
}

/** Visible ASCII, so that a key survives every log and database unchanged. */
const plainKey = /^[\x21-\x7e]{1,255}$/;

function keyOf(
  operation: Operation,
  request: Request,
  body: unknown,
  clientAddress: ClientAddress | undefined,
): KeyedRequest | undefined {
  const key = request.get(headerNames.idempotencyKey);
  if (key === undefined) return undefined;
  if (!plainKey.test(key)) {
    throw new Failure('invalid-request', {
      errors: [{ path: headerNames.idempotencyKey, message: 'must be 1 to 255 visible ASCII characters' }],
    });
  }
  const caller = keyOwner(request, clientAddress);
  if (caller === undefined) return undefined;
  return { key, caller, method: operation.method.toUpperCase(), path: request.path, body };
}

/** Keys of one owner mean nothing to another; undefined for a caller who cannot be told apart from others. */
function keyOwner(request: Request, clientAddress: ClientAddress | undefined): string | undefined {
  const caller = callers.get(request);
  if (caller === everybody) return unauthenticatedOwner;
  if (caller !== undefined) return `subject ${caller.subject}`;
  return clientAddress && `address ${networkOf(clientAddress(request))}`;
}

/** A copy may be kept by the caller alone, and used only after asking whether it is current. */
const revalidate = 'private, no-cache';

function sendAnswer(operation: Operation, response: Response, answer: Answer<Operation>): void {
  const text = JSON.stringify(answer.body);
  response.status(operation.answer.status);
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(text));
  response.setHeader(
    'Cache-Control',
    answer.cacheControl ?? (answer.version === undefined ? 'no-store' : revalidate),
  );
  if (answer.version !== undefined) response.setHeader('ETag', entityTag(answer.version));
  if (answer.ageMs !== undefined) response.setHeader('Age', Math.ceil(answer.ageMs / 1000));
  if (answer.location !== undefined) response.setHeader('Location', answer.location);
  if (answer.replayed) response.setHeader(headerNames.idempotencyReplayed, 'true');
  (response as ServerResponse).end(text);
}
