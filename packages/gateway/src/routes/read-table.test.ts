import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StartupError } from '@zerda/chassis/startup-error';
import { parseTable, readTable } from './read-table.ts';
import { resolveRoutes } from './route.ts';
import { routeTableSchema } from './table.ts';

/** Returns the lines of the error with which a table is rejected. */
function errorsOf(text: string): string[] {
  try {
    parseTable(text, 'routes.yaml');
  } catch (error) {
    assert.ok(error instanceof StartupError);
    assert.equal(error.exitCode, 78);
    const [title, ...lines] = error.message.split('\n');
    assert.equal(title, 'The route table is invalid:');
    return lines.map((line) => line.trim());
  }
  return assert.fail('the table was accepted');
}

describe('route table', () => {
  it('reads YAML and JSON', () => {
    const content = {
      upstreams: { billing: { url: 'http://billing:80' } },
      routes: [{ path: '/bills/{id}', methods: ['GET'], upstream: 'billing', timeout_ms: 100 }],
    };
    const yaml = `
upstreams:
  billing:
    url: http://billing:80
routes:
  - path: /bills/{id}
    methods: [GET]
    upstream: billing
    timeout_ms: 100
`;
    assert.deepEqual(parseTable(yaml, 'a'), parseTable(JSON.stringify(content), 'b'));
  });

  it('reports every error with its line', () => {
    const text = `upstreams:
  a: { url: 'x', foo: 1 }
  B: {}
routes:
  - path: /x/
    methods: [GETT]
  - { path: '/y/{id}', methods: [GET], upstream: b }
  - path: '/y/{other}'
    methods: [GET]
    upstream: a
    timeout_ms: soon
  - { path: /docs, methods: [POST], upstream: a }
  - { path: '/z/{id}', methods: [GET, PUT], upstream: a }
  - { path: '/z/{name}', methods: [PUT], upstream: a }
aggregates:
  - path: /api/health
    parts:
      q: { upstream: zz, path: '/x/{no}' }
    answer:
      f: { from: z.x }
      g: { from: 'no path' }
  - path: /w/{id}
    parts: { p: { upstream: zz, path: '/x/{no}' } }
    answer: { f: { from: z.x } }
`;
    assert.deepEqual(errorsOf(text), [
      'routes.yaml:2 upstreams.a.url must be an http:// or https:// URL',
      'routes.yaml:2 upstreams.a.foo is not a key of the table',
      'routes.yaml:3 upstreams.B as a name must be lower-case words joined by hyphens',
      'routes.yaml:5 routes.0.path must be a path such as /api/things/{id}, or /api/things/* for all paths below it',
      'routes.yaml:5 routes.0.upstream must be set',
      'routes.yaml:6 routes.0.methods.0 must be one of GET, POST, PUT, PATCH, DELETE, OPTIONS',
      'routes.yaml:7 routes.1.upstream names an unknown upstream: b',
      'routes.yaml:11 routes.2.timeout_ms must be number',
      'routes.yaml:12 routes.3.path is already served by the gateway itself',
      'routes.yaml:14 routes.5.methods contains PUT, which another route of the same path already contains',
      'routes.yaml:21 aggregates.0.answer.g.from must be a part and a path into its response, such as user.data.id',
      'routes.yaml:23 aggregates.1.parts.p.upstream names an unknown upstream: zz',
      'routes.yaml:23 aggregates.1.parts.p.path contains {no}, which is not a placeholder of /w/{id}',
      'routes.yaml:24 aggregates.1.answer.f.from names an unknown part: z',
    ]);
  });

  it('reports errors in policies at their location, for keys that accept several forms', () => {
    const text = `upstreams:
  a: { limit: { requests: 0, per_seconds: 1 } }
defaults:
  limit: some
  cors: { origins: ['*'], credentials: true }
routes:
  - path: /x
    methods: [GET]
    upstream: a
    access: everybody
    limit:
      requests: many
      per_second: 1
    cache: { ttl_ms: 400000 }
    cors:
      origins:
        - https://app.test/
    shed: no
`;
    assert.deepEqual(errorsOf(text), [
      'routes.yaml:2 upstreams.a.limit.requests Too small: expected number to be >=1',
      'routes.yaml:4 defaults.limit must be one of off, or must be object',
      'routes.yaml:5 defaults.cors must list its origins if credentials are allowed',
      'routes.yaml:10 routes.0.access must be one of public, optional, user, admin',
      'routes.yaml:11 routes.0.limit.per_seconds must be set',
      'routes.yaml:12 routes.0.limit.requests must be number',
      'routes.yaml:13 routes.0.limit.per_second is not a key of the table',
      'routes.yaml:14 routes.0.cache.ttl_ms Too big: expected number to be <=300000',
      'routes.yaml:17 routes.0.cors.origins.0 must be an origin such as https://app.example.com, or *',
      'routes.yaml:18 routes.0.shed must be one of on, off',
    ]);
  });

  it('rejects a cached route with request headers that cannot be part of a cache key', () => {
    const names = [
      'x-tenant',
      'host',
      'x-forwarded-host',
      'cookie',
      'X-Upper',
      'x-user-id',
      'x-correlation-id',
    ];
    const text = `upstreams: { a: {} }
routes:
  - { path: /x, methods: [GET], upstream: a, cache: { ttl_ms: 1, request_headers: [${names.join(', ')}] } }
`;
    const keyPath = (index: number) => `routes.yaml:3 routes.0.cache.request_headers.${index}`;
    assert.deepEqual(errorsOf(text), [
      ...[1, 2, 3].map((index) => `${keyPath(index)} is a header that a cached route cannot forward`),
      `${keyPath(4)} must be a header name in lower case`,
      ...[5, 6].map((index) => `${keyPath(index)} is a header that a cached route cannot forward`),
    ]);
  });

  it('rejects two upstreams whose URL comes from the same variable', () => {
    assert.deepEqual(errorsOf('upstreams:\n  billing: {}\n  billing-service: {}\nroutes: []\n'), [
      'routes.yaml:3 upstreams.billing-service uses the variable BILLING_SERVICE_URL, which billing already uses',
    ]);
  });

  it('reports YAML errors with their line, and an empty file', () => {
    assert.match(errorsOf('upstreams: {}\nroutes: [\n a: b: c')[0] ?? '', /^routes\.yaml:3 /);
    assert.deepEqual(errorsOf(''), [
      'routes.yaml:1 upstreams must be set',
      'routes.yaml:1 routes must be set',
    ]);
    assert.equal(errorsOf('just words').length, 1);
  });

  it('names ROUTES_FILE when the file does not exist', async () => {
    await assert.rejects(
      readTable('/nowhere/routes.yaml'),
      (error) => error instanceof StartupError && error.exitCode === 78 && /ROUTES_FILE/.test(error.message),
    );
  });
});

describe('schema of the route table', () => {
  it('describes every key', () => {
    const undescribed: string[] = [];
    const collectUndescribed = (node: unknown, keyPath: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { properties } = node as { properties?: Record<string, { description?: string }> };
      for (const [key, { description }] of Object.entries(properties ?? {})) {
        if (!description) undescribed.push(`${keyPath}.${key}`);
      }
      for (const [key, below] of Object.entries(node)) collectUndescribed(below, `${keyPath}.${key}`);
    };
    collectUndescribed(routeTableSchema(), '');
    assert.deepEqual(undescribed, []);
  });
});

describe('limits of a route', () => {
  const table = (route: string, defaults = '{}') =>
    parseTable(
      `{ upstreams: { a: { host: caller } }, defaults: ${defaults}, routes: [{ path: /x, methods: [GET, POST], upstream: a, ${route} }] }`,
      'table',
    );

  it('come from the route, the table defaults or the gateway defaults, in this order', () => {
    const [fromRoute] = resolveRoutes(
      table('timeout_ms: 100, retries: 0', '{ timeout_ms: 200, slow_ms: 7 }'),
      5000,
    );
    assert.deepEqual([fromRoute?.timeoutMs, fromRoute?.slowMs, fromRoute?.retries], [100, 7, 0]);
    const [fromTable] = resolveRoutes(table('', '{ timeout_ms: 200, body_limit_bytes: 5 }'), 5000);
    assert.deepEqual([fromTable?.timeoutMs, fromTable?.slowMs, fromTable?.bodyLimitBytes], [200, 100, 5]);
    const [fromDefaults] = resolveRoutes(table(''), 5000);
    assert.deepEqual(fromDefaults, {
      path: '/x',
      methods: ['GET', 'HEAD', 'POST'],
      upstream: 'a',
      keepHost: true,
      timeoutMs: 5000,
      slowMs: 2500,
      idleTimeoutMs: 30_000,
      totalTimeoutMs: undefined,
      bodyLimitBytes: 1_048_576,
      encodedSlashes: false,
      retries: 1,
      policies: {},
    });
  });
});
