import type { z } from 'zod';
import type { ProblemCode } from '../problems.ts';

/** HTTP methods the APIs use. */
export type Method = 'get' | 'post' | 'put' | 'delete';

/** Standard headers of a request that an operation heeds. */
export interface AcceptedHeaders {
  /** `Idempotency-Key`: a repeat gets the first answer. */
  readonly idempotencyKey?: true;
  /**
   * `If-Match` and `If-None-Match` (RFC 9110, sections 13.1.1 and 13.1.2): 412 when the current version is not one that they ask for,
   * and 304 for a GET whose caller has it.
   */
  readonly preconditions?: true;
}

/**
 * Whom an operation answers when authentication is required:
 * - `public`: everybody; a token is not looked at
 * - `optional`: everybody, and more where a token says who asks; one that is not valid is refused
 * - `user`: whoever has a valid token; what of it is theirs, the service decides
 * - `admin`: admins alone
 */
export type Access = 'public' | 'optional' | 'user' | 'admin';

/** What an operation answers when it succeeds. */
export interface SuccessfulAnswer {
  readonly status: 200 | 201;
  readonly description: string;
  /** The whole body, envelope included. */
  readonly schema: z.ZodType;
  /** The answer carries an `ETag` with the version of what it shows. */
  readonly etag?: true;
  /** The answer carries a `Location` with the path of what was made. */
  readonly location?: true;
}

/** One call that a service offers: what routers, clients, proxies and OpenAPI documents are made from. */
export interface Operation {
  /** `operationId` of the OpenAPI document; unique over all services. */
  readonly id: string;
  readonly method: Method;
  /** Path with OpenAPI placeholders: `/api/users/{id}`. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** Whom it answers. */
  readonly access: Access;
  /** Heading in the documentation. */
  readonly tag: string;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodObject;
  readonly accepts?: AcceptedHeaders;
  readonly answer: SuccessfulAnswer;
  /** Errors of the operation itself; those that every request can meet are added where documents are made. */
  readonly problems: readonly ProblemCode[];
}

/** Operations by name, as a service implements them. */
export type Operations = Readonly<Record<string, Operation>>;

type Parsed<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined;

/** What a handler of the operation gets: its parts parsed, undefined where it has none. */
export interface InputOf<Op extends Operation> {
  params: Parsed<Op['params']>;
  query: Parsed<Op['query']>;
  body: Parsed<Op['body']>;
}

/** The body of a successful answer, envelope included. */
export type AnswerOf<Op extends Operation> = z.input<Op['answer']['schema']>;

/** Keeps the operation's exact type, so that handlers and clients are checked against it. */
export function defineOperation<const Op extends Operation>(operation: Op): Op {
  return operation;
}
