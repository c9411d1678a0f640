import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gatewayOperations } from '@zerda/contracts/gateway/operations';
import { orderOperations } from '@zerda/contracts/order-service/orders';
import type { Operation } from '@zerda/contracts/protocol/operation';
import { identityOperations } from '@zerda/contracts/user-service/identity';
import { userOperations } from '@zerda/contracts/user-service/users';
import fc from 'fast-check';
import { defaultTable } from '../../testing/gateway.ts';
import { ownPaths } from '../own-endpoints/own-paths.ts';
import { createMatch } from './match.ts';
import { type Route, resolveRoutes } from './route.ts';

const routes = resolveRoutes(defaultTable, 5000) as unknown as readonly Route[];
const reservedPaths = [...ownPaths, ...defaultTable.aggregates.map(({ path }) => path)];
const match = createMatch(routes, reservedPaths);

describe('default route table', () => {
  it('forwards exactly the operations of both services', () => {
    const forwarded = routes.flatMap(({ path, methods, upstream }) =>
      methods.filter((method) => method !== 'HEAD').map((method) => `${method} ${path} -> ${upstream}`),
    );
    const documented = (operations: Readonly<Record<string, Operation>>, upstream: string) =>
      Object.values(operations).map(({ method, path }) => `${method.toUpperCase()} ${path} -> ${upstream}`);
    assert.deepEqual(
      forwarded.sort(),
      [
        ...documented({ ...userOperations, ...identityOperations }, 'user-service'),
        ...documented(orderOperations, 'order-service'),
      ].sort(),
    );
  });

  it('sets the access of each operation as in the contract', () => {
    const { defaults, aggregates } = defaultTable;
    const accessByOperation = new Map([
      ...resolveRoutes(defaultTable, 5000).flatMap(({ path, methods, policies }) =>
        methods.map((method) => [`${method} ${path}`, policies.access] as const),
      ),
      ...aggregates.map(({ path, access = defaults.access }) => [`GET ${path}`, access] as const),
    ]);
    const operations: readonly Operation[] = Object.values({
      ...userOperations,
      ...identityOperations,
      ...orderOperations,
      getProfile: gatewayOperations.getProfile,
      getDashboard: gatewayOperations.getDashboard,
    });
    for (const { id, method, path, access } of operations)
      assert.equal(accessByOperation.get(`${method.toUpperCase()} ${path}`), access, id);
  });

  it('contains the aggregates of the contract', () => {
    const aggregatePaths = [
      ...defaultTable.aggregates.map(({ path }) => path),
      gatewayOperations.getHealth.path,
    ];
    assert.deepEqual(
      aggregatePaths.sort(),
      Object.values(gatewayOperations)
        .map(({ path }) => path)
        .sort(),
    );
  });
});

describe('match', () => {
  it('matches a placeholder with any single segment and prefers literal paths', () => {
    for (const [path, pattern] of [
      ['/api/users/1', '/api/users/{id}'],
      ['/api/users/%41', '/api/users/{id}'],
      ['/api/users/a:b*c', '/api/users/{id}'],
      ['/api/users/report[1].pdf', '/api/users/{id}'],
      ['/api/users/a|b', '/api/users/{id}'],
      ['/api/users/a^b', '/api/users/{id}'],
      ['/api/users/a%20b%C3%BC%25', '/api/users/{id}'],
      ['/api/users/...', '/api/users/{id}'],
      ['/api/users/.hidden', '/api/users/{id}'],
      ['/api/users/health', '/api/users/health'],
      ['/api/users/stats', '/api/users/stats'],
      ['/api/orders/user/1', '/api/orders/user/{user_id}'],
      ['/api/orders/user/status', '/api/orders/user/{user_id}'],
      ['/api/orders/1/status', '/api/orders/{id}/status'],
    ] as const) {
      assert.equal(match(path)?.path, pattern, path);
    }
  });

  it('does not match other paths or paths that a service could read differently', () => {
    for (const path of [
      '',
      '*',
      '/',
      '/api',
      '/api/users/',
      '/api//users',
      '//api/users',
      '/API/users',
      '/api/%75sers',
      '/api%2Fusers',
      '/api/users/1/orders',
      '/api/orders/../users',
      '/api/users/..',
      '/api/users/.',
      '/api/users/%2e%2E',
      '/api/users/a\\b',
      '/api/users/1#x',
      '/api/users/%zz',
      '/api/users/ü',
      '/api/users/1/profile',
      '/api/dashboard',
      '/api/health',
      '/docs',
    ]) {
      assert.equal(match(path), undefined, path);
    }
  });

  /** Encoded separators, and segments that a service which decodes before routing may resolve to another path. */
  const slashes = ['a%2Fb', 'a%2fb', 'a%5Cb', 'a%252Fb', 'a%255cb', 'a%c0%afb', '%2Fa', 'a%2F', 'a%2F%2Fb'];
  const ambiguous = [
    ...['..%2f..%2fmetrics', '1%2fprofile%2f..', '..%2F', '%2e%2e%2fa', '%2E%2E', '.%2e', '%2e.', '%2e'],
    ...['..%5cmetrics', 'a%5c..', '%252e%252e%252fa', '%252e%252e', '..%252fa', 'a%252f%2e%252e'],
    ...['%c0%ae%c0%ae%c0%afa', '%c0%ae%c0%ae', '..;', '..;a%2fb', '%2e%2e;x=1', '.;', '1%2f..;%2fa'],
    ...[
      '%c0%2e%c0%2e',
      '%e0%80%ae%e0%80%ae%e0%80%afa',
      '..%e0%81%9ca',
      '..%c0%afa',
      '..%c1%9ca',
      'a%00',
      'a%2500',
      'a%2f.',
      '.%2fa',
      '%2e%2e%3b%2fa',
    ],
  ];

  it('does not match encoded slashes, or segments that decode to a dot segment once or twice', () => {
    for (const segment of [...slashes, ...ambiguous])
      assert.equal(match(`/api/users/${segment}`), undefined, segment);
  });

  it('matches encoded slashes, but no dot segments, on a route that allows encoded slashes', () => {
    const matchWithSlashes = createMatch(
      [
        { ...routes[0], path: '/f/{name}', methods: ['GET'], encodedSlashes: true } as Route,
        { ...routes[0], path: '/f/{name}', methods: ['PUT'] } as Route,
      ],
      [],
    );
    for (const segment of slashes)
      assert.deepEqual(matchWithSlashes(`/f/${segment}`)?.methods, ['GET'], segment);
    assert.deepEqual(matchWithSlashes('/f/a')?.methods, ['GET', 'PUT']);
    for (const segment of ambiguous) assert.equal(matchWithSlashes(`/f/${segment}`), undefined, segment);
    assert.equal(matchWithSlashes('/f%2Fa'), undefined);
  });

  it('matches everything below a path that ends in *', () => {
    const wildcardMatch = createMatch([{ ...routes[0], path: '/files/*', methods: ['GET'] } as Route], []);
    for (const path of ['/files/a', '/files/a/b', '/files/a/b.c/%20', '/files/a/', '/files/']) {
      assert.equal(wildcardMatch(path)?.path, '/files/*', path);
    }
    for (const path of ['/files', '/filesystem', '/files/../x', '/files/a/%2e%2E/b', '/files//a', '/']) {
      assert.equal(wildcardMatch(path), undefined, path);
    }
  });

  it('selects the route by method when routes name the placeholder differently', () => {
    const matched = createMatch(
      [
        { ...routes[0], path: '/y/{id}', methods: ['GET'] } as Route,
        { ...routes[0], path: '/y/{name}', methods: ['PUT'] } as Route,
      ],
      [],
    )('/y/1');
    assert.deepEqual(
      [matched?.path, matched?.methods, matched?.routes.get('PUT')?.path],
      ['/y/{id}', ['GET', 'PUT'], '/y/{name}'],
    );
  });

  it('matches the same pattern as a segment-by-segment comparison, for any table and path', () => {
    const word = fc.constantFrom('a', 'b', 'users', 'a.b', 'x-y', '~');
    const segment = fc.oneof(word, fc.constantFrom('{id}', '{other}'));
    const pattern = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
    const table = fc.uniqueArray(pattern, {
      minLength: 1,
      maxLength: 8,
      selector: (path) => path.replaceAll(/\{\w+\}/g, '{}'),
    });
    const sent = fc
      .array(
        fc.oneof(
          word,
          fc.constantFrom('', '.', '..', '%61', '%2F', '%252f', 'users%20', 'A', ':id', '*', 'ü'),
        ),
        {
          minLength: 1,
          maxLength: 5,
        },
      )
      .map((parts) => `/${parts.join('/')}`);
    fc.assert(
      fc.property(table, sent, (paths, path) => {
        const matched = createMatch(
          paths.map((each) => ({ ...routes[0], path: each }) as Route),
          [],
        )(path)?.path;
        assert.equal(matched, expectedPattern(paths, path), `${path} in ${paths.join(' ')}`);
      }),
      { numRuns: 2000 },
    );
  });
});

/** Returns the pattern that must match, computed without a router. */
function expectedPattern(patterns: readonly string[], path: string): string | undefined {
  const sent = path.split('/').slice(1);
  if (sent.some((part) => ['', '.', '..', 'ü', '%2F', '%252f'].includes(part))) return undefined;
  const candidates = patterns.filter((pattern) => {
    const parts = pattern.split('/').slice(1);
    return (
      parts.length === sent.length &&
      parts.every((part, index) => part.startsWith('{') || part === sent[index])
    );
  });
  const precedence = (pattern: string) =>
    pattern
      .split('/')
      .map((part) => (part.startsWith('{') ? '1' : '0'))
      .join('');
  return candidates.sort((a, b) => (precedence(a) < precedence(b) ? -1 : 1))[0];
}
