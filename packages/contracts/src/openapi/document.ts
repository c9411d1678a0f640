import { z } from 'zod';
import { type ProblemCode, problemDetails, problemTypes } from '../problems.ts';
import { headerNames } from '../protocol/headers.ts';
import type { Access, Operation } from '../protocol/operation.ts';

export interface DocumentOptions {
  readonly title: string;
  readonly description: string;
  readonly version: string;
  /** Descriptions of tags, by name. */
  readonly tags: Readonly<Record<string, string>>;
  readonly operations: readonly Operation[];
  /** Description of the server; by default, it serves the document too. */
  readonly server?: string;
  /** Returns problems of an operation in addition to those that it declares. */
  readonly problemsOf?: (operation: Operation) => readonly ProblemCode[];
}

type Json = { [member: string]: unknown };

const schemasPath = '#/components/schemas/';

export type OpenApiDocument = Json;

/** Returns the OpenAPI 3.1 document of a service. */
export function openApiDocument({
  title,
  description,
  version,
  tags,
  operations,
  server = 'Origin that serves this document.',
  problemsOf,
}: DocumentOptions): OpenApiDocument {
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
      responses: {
        ...successResponses(operation, schemas),
        ...problemResponses(operation, [...codes], problem),
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: {
      title,
      description,
      version,
      contact: { name: 'zerda maintainers' },
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: server }],
    tags: [...new Set(operations.map(({ tag }) => tag))].map((name) => ({
      name,
      description: tags[name],
    })),
    paths,
    components: {
      schemas: sorted(schemas),
      securitySchemes: Object.fromEntries(
        Object.entries(securitySchemes).filter(([name]) =>
          operations.some(({ access }) => security[access].some((scheme) => name in scheme)),
        ),
      ),
    },
  };
}

const securitySchemes = {
  accessToken: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'Access token from `POST /api/auth/login` or from the configured external issuer.',
  },
  signature: {
    type: 'apiKey',
    in: 'header',
    name: headerNames.signature,
    description:
      'Time and signature: `t=<Unix seconds>,v1=<hex>`, with one `v1` per secret in EVENT_SECRET. A `v1` is the HMAC-SHA-256 of `<Unix seconds>.<method> <path and query>`. Times that differ by more than 300 s are rejected.',
  },
};

const required = [{ accessToken: [] }];

/** Security requirements of each kind of access. */
const security: Readonly<Record<Access, readonly object[]>> = {
  public: [],
  optional: [{}, ...required],
  user: required,
  admin: required,
  signed: [{ signature: [] }],
};

/** Returns the problems that follow from the input and the access of an operation. */
export function problemsOfEveryRequest({ params, query, body, accepts, access }: Operation): ProblemCode[] {
  const codes: ProblemCode[] = ['internal-error', 'database-unavailable'];
  // The management port gives requests no deadline and knows no users.
  if (access !== 'signed') codes.push('deadline-exceeded');
  if (access !== 'public') codes.push('unauthenticated');
  if (access !== 'public' && access !== 'signed') codes.push('forbidden', 'identity-unavailable');
  if (params !== undefined || query !== undefined || body !== undefined) codes.push('invalid-request');
  if (body !== undefined) codes.push('payload-too-large', 'unsupported-media-type', 'validation-failed');
  if (accepts?.idempotencyKey) codes.push('idempotency-key-in-use', 'idempotency-key-reused');
  if (accepts?.preconditions) codes.push('precondition-failed');
  return codes;
}

/** Returns a zod schema as JSON Schema, with named schemas moved to `schemas`, the components of the document. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  const {
    $schema: _dialect,
    $defs,
    ...root
  } = z.toJSONSchema(schema, {
    io,
    override: ({ jsonSchema }) => {
      // Integers in paths and queries are parsed from text. The pattern of the text does not apply to the integer.
      if (jsonSchema.type === 'integer') delete jsonSchema.pattern;
    },
  }) as Json & { $defs?: Json };
  for (const [name, definition] of Object.entries($defs ?? {})) schemas[name] = withComponentRefs(definition);
  const { id, ...named } = withComponentRefs(root) as Json;
  if (typeof id !== 'string') return named;
  schemas[id] = named;
  return { $ref: schemasPath + id };
}

/** Returns the schema with references to the components of the document. */
function withComponentRefs(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withComponentRefs);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) =>
      key === '$ref' && typeof member === 'string'
        ? [key, member.replace('#/$defs/', schemasPath)]
        : [key, withComponentRefs(member)],
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
      'Identifies this request. For 24 hours, a repeat with the same key and body gets the stored response.',
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
      'ETag of an earlier response, or `*`. If the current version does not match, the response is 412.',
      tags,
    );
    add(
      'If-None-Match',
      method === 'get'
        ? 'ETag of an earlier response. If it is still current, the response is 304.'
        : 'ETag of an earlier response, or `*`. If the current version matches, the response is 412.',
      tags,
    );
  }
  return parameters;
}

const headers = {
  ids: {
    'X-Correlation-ID': { description: 'Id of the request in the logs.', schema: { type: 'string' } },
    [headerNames.traceResponse]: {
      description: 'Trace and span of the request, in the format of `traceparent` (W3C Trace Context).',
      schema: { type: 'string' },
    },
  },
  etag: { ETag: { description: 'Version of the resource.', schema: { type: 'string' } } },
  location: { Location: { description: 'Path of the created resource.', schema: { type: 'string' } } },
  replayed: {
    'Idempotency-Replayed': {
      description: '`true` if this is the stored response of an earlier request with the same key.',
      schema: { type: 'string', enum: ['true'] },
    },
  },
  retryAfter: {
    'Retry-After': { description: 'Seconds to wait before the next attempt.', schema: { type: 'string' } },
  },
  challenge: {
    'WWW-Authenticate': {
      description: 'Authentication scheme and the error of the token (RFC 6750, section 3).',
      schema: { type: 'string' },
    },
  },
};

/** Returns the headers that every response of an operation has. Calls of the management port have no request context. */
function commonHeaders({ access }: Operation): Json {
  return access === 'signed' ? {} : headers.ids;
}

function successResponses(operation: Operation, schemas: Json): Json {
  const { response, accepts, method } = operation;
  const success = {
    description: response.description,
    headers: {
      ...commonHeaders(operation),
      ...(response.etag && headers.etag),
      ...(response.location && headers.location),
      ...(accepts?.idempotencyKey && headers.replayed),
    },
    content: { 'application/json': { schema: schemaOf(response.schema, 'output', schemas) } },
  };
  const notModified = {
    description: 'The `ETag` in the request is still current.',
    headers: { ...headers.ids, ...headers.etag },
  };
  return {
    [response.status]: success,
    ...(accepts?.preconditions && method === 'get' && { 304: notModified }),
  };
}

/** Returns one response per status; its description and its header list the problem types with that status. */
function problemResponses(operation: Operation, codes: readonly ProblemCode[], schema: Json): Json {
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
          ...commonHeaders(operation),
          [headerNames.problem]: {
            description: 'Last segment of `type` in the body.',
            required: true,
            schema: { type: 'string', enum: kinds },
          },
          ...(retryAfterStatuses.has(status) && headers.retryAfter),
          ...(status === 401 && headers.challenge),
        },
        content: { 'application/problem+json': { schema } },
      },
    ]),
  );
}

/** Statuses whose responses can have a `Retry-After` header. */
const retryAfterStatuses = new Set([409, 429, 503]);

function sorted(members: Json): Json {
  return Object.fromEntries(Object.entries(members).sort(([a], [b]) => (a < b ? -1 : 1)));
}
