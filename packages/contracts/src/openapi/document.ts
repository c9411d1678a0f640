import { z } from 'zod';
import { type ProblemCode, problemDetails, problemTypes } from '../problems.ts';
import { headerNames } from '../protocol/headers.ts';
import type { Access, Operation } from '../protocol/operation.ts';

/** What a document says beside its operations. */
export interface DocumentOptions {
  readonly title: string;
  readonly description: string;
  readonly version: string;
  readonly operations: readonly Operation[];
  /** Errors that an operation can meet on its way beside those that it declares. */
  readonly problemsOf?: (operation: Operation) => readonly ProblemCode[];
}

type Json = { [member: string]: unknown };

/** Where a document keeps the schemas that have a name. */
const schemasPath = '#/components/schemas/';

/** Makes the OpenAPI 3.1 document of a service from its operations. */
export function openApiDocument({
  title,
  description,
  version,
  operations,
  problemsOf,
}: DocumentOptions): Json {
  const schemas: Json = {};
  const paths: { [path: string]: Json } = {};
  const problem = schemaOf(problemDetails, 'output', schemas);
  for (const operation of operations) {
    const codes = new Set([
      ...problemsOfEveryRequest(operation),
      ...operation.problems,
      ...(problemsOf?.(operation) ?? []),
    ]);
    const path = paths[operation.path] ?? {};
    paths[operation.path] = path;
    path[operation.method] = {
      operationId: operation.id,
      summary: operation.summary,
      ...(operation.description !== undefined && { description: operation.description }),
      tags: [operation.tag],
      security: security[operation.access],
      parameters: [
        ...partParameters('path', operation.params, schemas),
        ...partParameters('query', operation.query, schemas),
        ...headerParameters(operation),
      ],
      ...(operation.body !== undefined && {
        requestBody: {
          required: true,
          content: { 'application/json': { schema: schemaOf(operation.body, 'input', schemas) } },
        },
      }),
      responses: { ...successResponses(operation, schemas), ...problemResponses([...codes], problem) },
    };
  }
  return {
    openapi: '3.1.0',
    info: { title, description, version, license: { name: 'MIT', identifier: 'MIT' } },
    tags: [...new Set(operations.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: sorted(schemas),
      securitySchemes: {
        [scheme]: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'Access token of `POST /api/auth/login`, or of the issuer that the system is set to.',
        },
      },
    },
  };
}

const scheme = 'accessToken';
const required = [{ [scheme]: [] }];

/** What each kind of access asks of a request. */
const security: Readonly<Record<Access, readonly object[]>> = {
  public: [],
  optional: [{}, ...required],
  user: required,
  admin: required,
};

/** Errors that follow from what an operation accepts, so that no operation has to list them. */
export function problemsOfEveryRequest({ params, query, body, accepts, access }: Operation): ProblemCode[] {
  const codes: ProblemCode[] = ['internal-error', 'database-unavailable', 'deadline-exceeded'];
  if (access !== 'public') codes.push('unauthenticated', 'forbidden', 'identity-unavailable');
  if (params !== undefined || query !== undefined || body !== undefined) codes.push('invalid-request');
  if (body !== undefined) codes.push('payload-too-large', 'unsupported-media-type', 'validation-failed');
  if (accepts?.idempotencyKey) codes.push('idempotency-key-in-use', 'idempotency-key-reused');
  if (accepts?.preconditions) codes.push('precondition-failed');
  return codes;
}

/** A zod schema as JSON Schema, its named parts moved to the document's components. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  const {
    $schema: _dialect,
    $defs,
    ...root
  } = z.toJSONSchema(schema, {
    io,
    override: ({ jsonSchema }) => {
      // What comes as text but means a number is described as the number; the text's pattern means nothing for it.
      if (jsonSchema.type === 'integer') delete jsonSchema.pattern;
    },
  }) as Json & { $defs?: Json };
  for (const [name, definition] of Object.entries($defs ?? {})) schemas[name] = moved(definition);
  const { id, ...named } = moved(root) as Json;
  if (typeof id !== 'string') return named;
  schemas[id] = named;
  return { $ref: schemasPath + id };
}

/** The same schema with references into the components, and without the ids that are the components' names. */
function moved(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(moved);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) =>
      key === '$ref' && typeof member === 'string'
        ? [key, member.replace('#/$defs/', schemasPath)]
        : [key, moved(member)],
    ),
  );
}

function partParameters(place: 'path' | 'query', part: z.ZodObject | undefined, schemas: Json): Json[] {
  return Object.entries(part?.shape ?? {}).map(([name, member]) => {
    const { description, ...schema } = schemaOf(member as z.ZodType, 'input', schemas);
    const required = !(member as z.ZodType).safeParse(undefined).success;
    return { name, in: place, required, ...(description !== undefined && { description }), schema };
  });
}

function headerParameters({ accepts, method }: Operation): Json[] {
  const parameters: Json[] = [];
  const add = (name: string, description: string, schema: Json) =>
    parameters.push({ name, in: 'header', required: false, description, schema });
  if (accepts?.idempotencyKey) {
    add(
      'Idempotency-Key',
      'Names this request: a repeat with the same key and body gets the first answer for 24 hours.',
      {
        type: 'string',
        pattern: '^[\\x21-\\x7e]{1,255}$',
      },
    );
  }
  if (accepts?.preconditions) {
    const tags: Json = { type: 'string' };
    add(
      'If-Match',
      'Continue only on this version: an ETag of an earlier response, or `*`; otherwise 412.',
      tags,
    );
    add(
      'If-None-Match',
      method === 'get'
        ? 'Respond with 304 when this ETag is still the current one.'
        : 'Continue only on another version than this; `*` names every version, so the response is 412.',
      tags,
    );
  }
  return parameters;
}

const headers = {
  correlationId: {
    'X-Correlation-ID': { description: 'Id of the request in the logs.', schema: { type: 'string' } },
  },
  etag: { ETag: { description: 'Version of what the answer shows.', schema: { type: 'string' } } },
  location: { Location: { description: 'Path of what was made.', schema: { type: 'string' } } },
  replayed: {
    'Idempotency-Replayed': {
      description: '`true` when this repeats the answer of an earlier request with the same key.',
      schema: { type: 'string', enum: ['true'] },
    },
  },
  retryAfter: {
    'Retry-After': { description: 'Seconds to wait before the next try.', schema: { type: 'string' } },
  },
  challenge: {
    'WWW-Authenticate': {
      description: 'How to say who asks, and what is wrong with the token (RFC 6750, section 3).',
      schema: { type: 'string' },
    },
  },
  problem: {
    [headerNames.problem]: { description: 'Last segment of `type` in the body.', schema: { type: 'string' } },
  },
};

function successResponses({ answer, accepts, method }: Operation, schemas: Json): Json {
  const success = {
    description: answer.description,
    headers: {
      ...headers.correlationId,
      ...(answer.etag && headers.etag),
      ...(answer.location && headers.location),
      ...(accepts?.idempotencyKey && headers.replayed),
    },
    content: { 'application/json': { schema: schemaOf(answer.schema, 'output', schemas) } },
  };
  const notModified = {
    description: 'The caller has the current version.',
    headers: { ...headers.correlationId, ...headers.etag },
  };
  return {
    [answer.status]: success,
    ...(accepts?.preconditions && method === 'get' && { 304: notModified }),
  };
}

/** One response a status: its description names each kind of problem that has it. */
function problemResponses(codes: readonly ProblemCode[], schema: Json): Json {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = problemTypes[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, kinds]) => [
      status,
      {
        description: kinds.map((code) => `\`${code}\`: ${problemTypes[code].title}.`).join(' '),
        headers: {
          ...headers.correlationId,
          ...headers.problem,
          ...(waiting.has(status) && headers.retryAfter),
          ...(status === 401 && headers.challenge),
        },
        content: { 'application/problem+json': { schema } },
      },
    ]),
  );
}

/** Statuses whose problems say when a repeat makes sense. */
const waiting = new Set([409, 429, 503]);

function sorted(members: Json): Json {
  return Object.fromEntries(Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1)));
}
