import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AuditAction } from '@zerda/contracts/audit';
import type { ProblemCode } from '@zerda/contracts/problems';
import { headerNames } from '@zerda/contracts/protocol/headers';
import type { InputOf, Operation, Operations, ResponseOf } from '@zerda/contracts/protocol/operation';
import { type ErrorRequestHandler, type Request, type RequestHandler, type Response, Router } from 'express';
import type { z } from 'zod';
import type { Actor } from '../audit/audit-details.ts';
import { type AuditLog, addAuditDetails, failedOutcome } from '../audit/audit-log.ts';
import { bearerTokenOf, forbidden, unauthenticated } from '../auth/bearer.ts';
import { type Caller, unauthenticatedAdmin } from '../auth/caller.ts';
import type { Authentication } from '../auth/open-verifier.ts';
import { Failure } from '../failure.ts';
import type { KeyedRequest } from '../idempotency/key-table.ts';
import type { Precondition } from '../precondition.ts';
import { currentContext } from '../request-context.ts';
import { networkOf } from './addresses.ts';
import type { ClientAddress } from './client-address.ts';
import { entityTag, isCurrent, type PreconditionHeaders, parsePreconditions } from './entity-tag.ts';
import { fieldErrors } from './field-errors.ts';
import { jsonBody } from './json-body.ts';
import { methodNotAllowed, toFailure } from './problem-response.ts';
import { setRoute } from './request-observer.ts';
import { routerPath } from './route-path.ts';

/** Input of a handler: the parts of the request, parsed by the schemas of the operation. */
export type Input<Op extends Operation> = InputOf<Op> & {
  /** Caller of the operation; undefined for an anonymous request to an operation that permits it. */
  readonly caller: Op['access'] extends 'user' | 'admin' ? Caller : Caller | undefined;
  /** The HTTP request, for example for the client address. */
  readonly request: IncomingMessage;
  /** Precondition from `If-Match` and `If-None-Match`; undefined without these headers. */
  readonly precondition: Precondition | undefined;
  /** Idempotency key of the request; undefined without the header. */
  readonly keyed: KeyedRequest | undefined;
};

/** Response of a handler. */
export interface HandlerResponse<Op extends Operation> {
  /** The complete body, including the envelope. */
  readonly body: ResponseOf<Op>;
  /** Version of the resource in the body; sent as `ETag`. */
  readonly version?: number | undefined;
  /** Path of the created resource; sent as `Location`. */
  readonly location?: string | undefined;
  /** `Cache-Control` of the response; by default `private, no-cache` with a version, else `no-store`. */
  readonly cacheControl?: string | undefined;
  /** Age of the body in milliseconds; sent as `Age` (RFC 9111, section 5.1), which is omitted by default. */
  readonly ageMs?: number | undefined;
  /** Whether this is the stored response of an earlier request with the same idempotency key. */
  readonly replayed?: boolean | undefined;
}

/** One handler per operation. */
export type Handlers<Ops extends Operations> = {
  readonly [Name in keyof Ops]: (input: Input<Ops[Name]>) => Promise<HandlerResponse<Ops[Name]>>;
};

/** Owner of all idempotency keys if authentication is off. */
const unauthenticatedOwner = 'anonymous';

export interface ApiRouterOptions {
  /** Verifies the caller; may be omitted only if all operations are public. */
  readonly authentication?: Authentication | undefined;
  /** Scopes the idempotency keys of anonymous callers; if omitted, their keys are ignored. */
  readonly clientAddress?: ClientAddress | undefined;
  /** Gets a line for each request to an operation that can change state; may be omitted only if there is none. */
  readonly audit?: AuditLog | undefined;
}

/**
 * Creates a router that serves operations. It authenticates the caller, validates the request against the contract, calls the handler,
 * writes the audit line and sends the response. Other methods of a known path return 405.
 */
export function createApiRouter<Ops extends Operations>(
  operations: Ops,
  handlers: Handlers<Ops>,
  { authentication, clientAddress, audit }: ApiRouterOptions = {},
): Router {
  const router = Router({ caseSensitive: true, strict: true });
  for (const [path, names] of groupByPath(operations)) {
    const route = router.route(routerPath(path));
    route.all((_request, response, next) => {
      setRoute(response, path);
      next();
    });
    for (const name of names) {
      const operation = operations[name] as Operation;
      const handler = handlers[name] as unknown as (
        input: Input<Operation>,
      ) => Promise<HandlerResponse<Operation>>;
      route[operation.method](
        authenticate(operation, authentication),
        ...(operation.body === undefined ? [] : jsonBody),
        handle(operation, handler, { clientAddress, audit }),
        ...auditFailures(operation, audit),
      );
    }
    route.all(methodNotAllowed(methodsOf(names.map((name) => operations[name] as Operation))));
  }
  return router;
}

/** Returns the methods of a path for `Allow`. GET implies HEAD. */
export function methodsOf(operations: readonly Operation[]): string[] {
  return operations.flatMap(({ method }) => (method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]));
}

/** Groups operations by path. If two paths match a request, the one with the longer literal prefix comes first. */
function groupByPath(operations: Operations): [string, string[]][] {
  const paths = new Map<string, string[]>();
  for (const [name, { path }] of Object.entries(operations)) {
    paths.set(path, [...(paths.get(path) ?? []), name]);
  }
  return [...paths].sort(([a], [b]) => literalPrefixLength(b) - literalPrefixLength(a));
}

function literalPrefixLength(path: string): number {
  const placeholder = path.indexOf('{');
  return placeholder === -1 ? Number.POSITIVE_INFINITY : placeholder;
}

/** Caller of each authenticated request. */
const callers = new WeakMap<Request, Caller>();

/** Authenticates and authorizes before the body is read, so that rejected requests cost little. */
function authenticate({ id, access }: Operation, authentication: Authentication | undefined): RequestHandler {
  if (access === 'public') return (_request, _response, next) => next();
  if (authentication === undefined) throw new Error(`${id} is not public and needs authentication`);
  if (authentication === 'off') {
    return (request, _response, next) => {
      callers.set(request, unauthenticatedAdmin);
      next();
    };
  }
  return async (request, _response, next) => {
    const token = bearerTokenOf(request.get('authorization'));
    if (token !== undefined) {
      const caller = await authentication.verify(token);
      callers.set(request, caller);
      const context = currentContext();
      if (context !== undefined) context.subject = caller.subject;
      if (access === 'admin' && caller.role !== 'admin')
        throw forbidden('This operation requires the admin role.');
    } else if (access !== 'optional') throw unauthenticated();
    next();
  };
}

function handle(
  operation: Operation,
  handler: (input: Input<Operation>) => Promise<HandlerResponse<Operation>>,
  { clientAddress, audit }: Pick<ApiRouterOptions, 'clientAddress' | 'audit'>,
): RequestHandler {
  return async (request, response) => {
    const input = readInput(operation, request, clientAddress);
    if (currentContext()?.deadline.expired) throw new Failure('deadline-exceeded');
    if (operation.audit !== undefined) addAuditDetails({ actor: actorOf(request) });
    const result = await handler(input);
    if (operation.audit !== undefined) auditSuccess(operation.audit, audit, request, result);
    const { version } = result;
    const isRead = operation.method === 'get' && operation.accepts?.preconditions && version !== undefined;
    if (isRead && isCurrent(preconditionHeaders(request), version)) {
      response.setHeader('ETag', entityTag(version));
      response.setHeader('Cache-Control', privateNoCache);
      response.status(304).end();
      return;
    }
    sendResponse(operation, response, result);
  };
}

/** Returns the actor of a request: the caller, or an anonymous client. */
function actorOf(request: Request): Actor {
  const caller = callers.get(request);
  return caller === undefined || caller === unauthenticatedAdmin
    ? { type: 'anonymous' }
    : { type: 'user', id: caller.subject };
}

/** Writes the audit line of a request whose change is committed. The response may still fail. */
function auditSuccess(
  action: AuditAction,
  audit: AuditLog | undefined,
  request: Request,
  { body, replayed }: HandlerResponse<Operation>,
): void {
  const { data } = body as { data?: { id?: number } };
  audit?.write({
    action,
    outcome: replayed ? 'replayed' : 'succeeded',
    entityId: entityIdOf(request) ?? data?.id,
    ...currentContext()?.audit,
  });
  audited.add(request);
}

/** Returns the id in the path; undefined if there is none or it is not a number, because any text may be in the path. */
function entityIdOf({ params: { id } }: Request): string | undefined {
  return typeof id === 'string' && /^\d{1,10}$/.test(id) ? id : undefined;
}

/** Requests that have their audit line. */
const audited = new WeakSet<Request>();

/** Returns the error handler that writes the audit line of a rejected or failed request; none for operations that change nothing. */
function auditFailures({ id, audit: action }: Operation, audit: AuditLog | undefined): ErrorRequestHandler[] {
  if (action === undefined) return [];
  if (audit === undefined) throw new Error(`${id} can change state and needs an audit log`);
  return [
    (error, request, _response, next) => {
      if (!audited.has(request))
        audit.write({
          action,
          ...failedOutcome(toFailure(error)),
          actor: actorOf(request),
          entityId: entityIdOf(request),
          ...currentContext()?.audit,
        });
      next(error);
    },
  ];
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

/** Visible ASCII, which logs and databases store unchanged. */
const keyPattern = /^[\x21-\x7e]{1,255}$/;

function keyOf(
  operation: Operation,
  request: Request,
  body: unknown,
  clientAddress: ClientAddress | undefined,
): KeyedRequest | undefined {
  const key = request.get(headerNames.idempotencyKey);
  if (key === undefined) return undefined;
  if (!keyPattern.test(key)) {
    throw new Failure('invalid-request', {
      errors: [{ path: headerNames.idempotencyKey, message: 'must be 1 to 255 visible ASCII characters' }],
    });
  }
  const caller = keyOwner(request, clientAddress);
  if (caller === undefined) return undefined;
  return { key, caller, method: operation.method.toUpperCase(), path: request.path, body };
}

/** Returns the owner that scopes an idempotency key; undefined if the caller cannot be distinguished from others. */
function keyOwner(request: Request, clientAddress: ClientAddress | undefined): string | undefined {
  const caller = callers.get(request);
  if (caller === unauthenticatedAdmin) return unauthenticatedOwner;
  if (caller !== undefined) return `subject ${caller.subject}`;
  return clientAddress && `address ${networkOf(clientAddress(request))}`;
}

/** Only the caller may cache the response, and must revalidate it before each use. */
const privateNoCache = 'private, no-cache';

function sendResponse(operation: Operation, response: Response, result: HandlerResponse<Operation>): void {
  const text = JSON.stringify(result.body);
  response.status(operation.response.status);
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.setHeader('Content-Length', Buffer.byteLength(text));
  response.setHeader(
    'Cache-Control',
    result.cacheControl ?? (result.version === undefined ? 'no-store' : privateNoCache),
  );
  if (result.version !== undefined) response.setHeader('ETag', entityTag(result.version));
  if (result.ageMs !== undefined) response.setHeader('Age', Math.ceil(result.ageMs / 1000));
  if (result.location !== undefined) response.setHeader('Location', result.location);
  if (result.replayed) response.setHeader(headerNames.idempotencyReplayed, 'true');
  (response as ServerResponse).end(text);
}
