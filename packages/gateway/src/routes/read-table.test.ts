import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StartupError } from '@zerda/chassis/startup-error';
import { parseTable, readTable } from './read-table.ts';
import { resolveRoutes } from './route.ts';
import { routeTableSchema } from './table.ts';

/** The lines of the error that a table is refused with. */
function errorsOf(text: string): string[] {
  try {
    parseTable(text, 'routes.yaml');
  } catch (error) {
    assert.ok(error instanceof StartupError);
    assert.equal(error.exitCode, 78);
    const [title, ...lines] = error.message.split('\n');
    assert.equal(title, 'The table of routes is wrong:');
    return lines.map((line) => line.trim());
  }
  return assert.fail('the table was taken');
}

describe('table of routes', () => {
  it('is read from YAML and from JSON alike', () => {
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

  it('names every error with its line', () => {
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
      'routes.yaml:5 routes.0.path must be a path such as /api/things/{id}, or /api/things/* for all below it',
      'routes.yaml:5 routes.0.upstream must be set',
      'routes.yaml:6 routes.0.methods.0 must be one of GET, POST, PUT, PATCH, DELETE, OPTIONS',
      'routes.yaml:7 routes.1.upstream names no upstream: b',
      'routes.yaml:11 routes.2.timeout_ms must be number',
      'routes.yaml:12 routes.3.path is answered by the gateway itself',
      'routes.yaml:14 routes.5.methods has PUT, which another route of that path has already',
      'routes.yaml:21 aggregates.0.answer.g.from must be a part and a path into its answer: user.data.id',
      'routes.yaml:23 aggregates.1.parts.p.upstream names no upstream: zz',
      'routes.yaml:23 aggregates.1.parts.p.path has {no}, which /w/{id} has not',
      'routes.yaml:24 aggregates.1.answer.f.from names no part: z',
    ]);
  });

  it('names what is wrong with a policy where it stands, whatever form it may have', () => {
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
      'routes.yaml:5 defaults.cors must name its origins when pages may send credentials',
      'routes.yaml:10 routes.0.access must be one of public, optional, user, admin',
      'routes.yaml:11 routes.0.limit.per_seconds must be set',
      'routes.yaml:12 routes.0.limit.requests must be number',
      'routes.yaml:13 routes.0.limit.per_second is not a key of the table',
      'routes.yaml:14 routes.0.cache.ttl_ms Too big: expected number to be <=300000',
      'routes.yaml:17 routes.0.cors.origins.0 must be an origin such as https://app.example.com, or *',
      'routes.yaml:18 routes.0.shed must be one of on, off',
    ]);
  });

  it('refuses a cached route that would send a header which no key can have', () => {
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
    const at = (index: number) => `routes.yaml:3 routes.0.cache.request_headers.${index}`;
    assert.deepEqual(errorsOf(text), [
      ...[1, 2, 3].map((index) => `${at(index)} is a header that a cached route cannot send`),
      `${at(4)} must be the name of a header in lower case`,
      ...[5, 6].map((index) => `${at(index)} is a header that a cached route cannot send`),
    ]);
  });

  it('refuses two upstreams that one variable would give their address', () => {
    assert.deepEqual(errorsOf('upstreams:\n  billing: {}\n  billing-service: {}\nroutes: []\n'), [
      'routes.yaml:3 upstreams.billing-service has its address in BILLING_SERVICE_URL, as billing has',
    ]);
  });

  it('names what is no YAML with its line, and what is nothing at all', () => {
    assert.match(errorsOf('upstreams: {}\nroutes: [\n a: b: c')[0] ?? '', /^routes\.yaml:3 /);
    assert.deepEqual(errorsOf(''), [
      'routes.yaml:1 upstreams must be set',
      'routes.yaml:1 routes must be set',
    ]);
    assert.equal(errorsOf('just words').length, 1);
  });

  it('says which variable to set when there is no file', async () => {
    await assert.rejects(
      readTable('/nowhere/routes.yaml'),
      (error) => error instanceof StartupError && error.exitCode === 78 && /ROUTES_FILE/.test(error.message),
    );
  });
});

describe('the schema of the table', () => {
  it('says of every key what it means', () => {
    const undescribed: string[] = [];
    const visit = (node: unknown, at: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { properties } = node as { properties?: Record<string, { description?: string }> };
      for (const [key, { description }] of Object.entries(properties ?? {})) {
        if (!description) undescribed.push(`${at}.${key}`);
      }
      for (const [key, below] of Object.entries(node)) visit(below, `${at}.${key}`);
    };
    visit(routeTableSchema(), '');
    assert.deepEqual(undescribed, []);
  });
});

describe('limits of a route', () => {
  const table = (route: string, defaults = '{}') =>
    parseTable(
      `{ upstreams: { a: { host: caller } }, defaults: ${defaults}, routes: [{ path: /x, methods: [GET, POST], upstream: a, ${route} }] }`,
      'table',
    );

  it('are its own, else those of the table, else ours', () => {
    const [own] = resolveRoutes(
      table('timeout_ms: 100, retries: 0', '{ timeout_ms: 200, slow_ms: 7 }'),
      5000,
    );
    assert.deepEqual([own?.timeoutMs, own?.slowMs, own?.retries], [100, 7, 0]);
    const [ofTable] = resolveRoutes(table('', '{ timeout_ms: 200, body_limit_bytes: 5 }'), 5000);
    assert.deepEqual([ofTable?.timeoutMs, ofTable?.slowMs, ofTable?.bodyLimitBytes], [200, 100, 5]);
    const [ours] = resolveRoutes(table(''), 5000);
    assert.deepEqual(ours, {
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
