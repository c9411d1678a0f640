import type { z } from 'zod';
import type { AuditAction } from '../audit.ts';
import type { ProblemCode } from '../problems.ts';

/** HTTP methods of the APIs. */
export type Method = 'get' | 'post' | 'put' | 'delete';

/** Request headers that an operation supports. */
export interface AcceptedHeaders {
  /** `Idempotency-Key`: a repeated request gets the stored response. */
  readonly idempotencyKey?: true;
  /**
   * `If-Match` and `If-None-Match` (RFC 9110, sections 13.1.1 and 13.1.2): 412 if the current version does not meet the condition,
   * and 304 for a GET if the caller has the current version.
   */
  readonly preconditions?: true;
}

/**
 * Callers that an operation allows if authentication is required:
 * - `public`: any caller; tokens are ignored
 * - `optional`: any caller; the response may depend on the token, and an invalid token is rejected
 * - `user`: callers with a valid token; the service checks the owner of the resource
 * - `admin`: only admins
 * - `signed`: other services, whose requests to the management port are signed, even if authentication is off
 */
export type Access = 'public' | 'optional' | 'user' | 'admin' | 'signed';

/** Successful response of an operation. */
export interface SuccessfulResponse {
  readonly status: 200 | 201;
  readonly description: string;
  /** Schema of the whole body, including the envelope. */
  readonly schema: z.ZodType;
  /** The response has an `ETag` with the version of the resource. */
  readonly etag?: true;
  /** The response has a `Location` with the path of the created resource. */
  readonly location?: true;
}

/**
 * Definition of one API operation. Routers, clients, proxies and OpenAPI documents are derived from it. Each operation that can change
 * state has an action for the audit log.
 */
export type Operation = OperationParts &
  (
    | { readonly method: 'get'; readonly audit?: undefined }
    | { readonly method: Exclude<Method, 'get'>; readonly audit: AuditAction }
  );

interface OperationParts {
  /** `operationId` of the OpenAPI document; unique across all services. */
  readonly id: string;
  /** Path with OpenAPI placeholders: `/api/users/{id}`. */
  readonly path: string;
  readonly summary: string;
  /** Markdown; required for every operation in a document. */
  readonly description?: string;
  readonly access: Access;
  /** Name of the OpenAPI tag. */
  readonly tag: string;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodObject;
  readonly accepts?: AcceptedHeaders;
  readonly response: SuccessfulResponse;
  /** Problems of this operation; `openApiDocument` adds those that any request can cause. */
  readonly problems: readonly ProblemCode[];
}

/** Operations of a service by name. */
export type Operations = Readonly<Record<string, Operation>>;

type Parsed<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined;

/** Parsed input of a handler; a part is undefined if the operation does not have it. */
export interface InputOf<Op extends Operation> {
  params: Parsed<Op['params']>;
  query: Parsed<Op['query']>;
  body: Parsed<Op['body']>;
}

/** Body of a successful response, including the envelope. */
export type ResponseOf<Op extends Operation> = z.input<Op['response']['schema']>;

/** Returns the operation with its exact type, so that handlers and clients are checked against it. */
export function defineOperation<const Op extends Operation>(operation: Op): Op {
  return operation;
}
