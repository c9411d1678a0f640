import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gatewayOperations } from '@zerda/contracts/gateway';
import { identityOperations } from '@zerda/contracts/identity';
import { orderOperations } from '@zerda/contracts/orders';
import type { Operation } from '@zerda/contracts/protocol/operation';
import { userOperations } from '@zerda/contracts/users';
import fc from 'fast-check';
import { standardTable } from '../testing.ts';
import { ownPaths } from './conflicts.ts';
import { createMatch } from './match.ts';
import { type Route, resolveRoutes } from './route.ts';

const routes = resolveRoutes(standardTable, 5000) as unknown as readonly Route[];
const own = [...ownPaths, ...standardTable.aggregates.map(({ path }) => path)];
const match = createMatch(routes, own);

describe('the table that comes with the gateway', () => {
  it('forwards every operation of both services and no other', () => {
    const offered = routes.flatMap(({ path, methods, upstream }) =>
      methods.filter((method) => method !== 'HEAD').map((method) => `${method} ${path} -> ${upstream}`),
    );
    const promised = (operations: Readonly<Record<string, Operation>>, upstream: string) =>
      Object.values(operations).map(({ method, path }) => `${method.toUpperCase()} ${path} -> ${upstream}`);
    assert.deepEqual(
      offered.sort(),
      [
        ...promised({ ...userOperations, ...identityOperations }, 'user-service'),
        ...promised(orderOperations, 'order-service'),
      ].sort(),
    );
  });

  it('lets in whom each operation is for', () => {
    const { defaults, aggregates } = standardTable;
    const said = new Map([
      ...resolveRoutes(standardTable, 5000).flatMap(({ path, methods, policies }) =>
        methods.map((method) => [`${method} ${path}`, policies.access] as const),
      ),
      ...aggregates.map(({ path, access = defaults.access }) => [`GET ${path}`, access] as const),
    ]);
    const operations: readonly Operation[] = Object.values({
      ...{ ...userOperations, ...identityOperations, ...orderOperations },
      ...{ getProfile: gatewayOperations.getProfile, getDashboard: gatewayOperations.getDashboard },
    });
    for (const { id, method, path, access } of operations)
      assert.equal(said.get(`${method.toUpperCase()} ${path}`), access, id);
  });

  it('answers the aggregates of the contract', () => {
    const answered = [...standardTable.aggregates.map(({ path }) => path), gatewayOperations.getHealth.path];
    assert.deepEqual(
      answered.sort(),
      Object.values(gatewayOperations)
        .map(({ path }) => path)
        .sort(),
    );
  });
});

describe('match', () => {
  it('takes any single segment for a placeholder, and the literal path before it', () => {
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

  it('leaves everything else alone, and what a service could read in another way', () => {
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

  /** Spellings of separators, and of what a service that decodes first may resolve. */
  const slashes = ['a%2Fb', 'a%2fb', 'a%5Cb', 'a%252Fb', 'a%255cb', 'a%c0%afb', '%2Fa', 'a%2F', 'a%2F%2Fb'];
  const straying = [
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

  it('takes no encoded slash, and nothing that decodes to a dot segment, once or twice', () => {
    for (const segment of [...slashes, ...straying])
      assert.equal(match(`/api/users/${segment}`), undefined, segment);
  });

  it('takes encoded slashes as data on a route that allows them, but no dot segments', () => {
    const allowing = createMatch(
      [
        { ...routes[0], path: '/f/{name}', methods: ['GET'], encodedSlashes: true } as Route,
        { ...routes[0], path: '/f/{name}', methods: ['PUT'] } as Route,
      ],
      [],
    );
    for (const segment of slashes) assert.equal(allowing(`/f/${segment}`)?.allow, 'GET', segment);
    assert.equal(allowing('/f/a')?.allow, 'GET, PUT');
    for (const segment of straying) assert.equal(allowing(`/f/${segment}`), undefined, segment);
    assert.equal(allowing('/f%2Fa'), undefined);
  });

  it('takes everything below a path that ends in *', () => {
    const star = createMatch([{ ...routes[0], path: '/files/*', methods: ['GET'] } as Route], []);
    for (const path of ['/files/a', '/files/a/b', '/files/a/b.c/%20', '/files/a/', '/files/']) {
      assert.equal(star(path)?.path, '/files/*', path);
    }
    for (const path of ['/files', '/filesystem', '/files/../x', '/files/a/%2e%2E/b', '/files//a', '/']) {
      assert.equal(star(path), undefined, path);
    }
  });

  it('keeps methods of one path apart that name its placeholder differently', () => {
    const found = createMatch(
      [
        { ...routes[0], path: '/y/{id}', methods: ['GET'] } as Route,
        { ...routes[0], path: '/y/{name}', methods: ['PUT'] } as Route,
      ],
      [],
    )('/y/1');
    assert.deepEqual(
      [found?.path, found?.allow, found?.routes.get('PUT')?.path],
      ['/y/{id}', 'GET, PUT', '/y/{name}'],
    );
  });

  it('finds what a comparison segment by segment finds, for any table and any path', () => {
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
        const found = createMatch(
          paths.map((each) => ({ ...routes[0], path: each }) as Route),
          [],
        )(path)?.path;
        assert.equal(found, expected(paths, path), `${path} in ${paths.join(' ')}`);
      }),
      { numRuns: 2000 },
    );
  });
});

/** What the matcher must find, written without a router. */
function expected(patterns: readonly string[], path: string): string | undefined {
  const sent = path.split('/').slice(1);
  if (sent.some((part) => ['', '.', '..', 'ü', '%2F', '%252f'].includes(part))) return undefined;
  const fitting = patterns.filter((pattern) => {
    const parts = pattern.split('/').slice(1);
    return (
      parts.length === sent.length &&
      parts.every((part, index) => part.startsWith('{') || part === sent[index])
    );
  });
  const literalFirst = (pattern: string) =>
    pattern
      .split('/')
      .map((part) => (part.startsWith('{') ? '1' : '0'))
      .join('');
  return fitting.sort((a, b) => (literalFirst(a) < literalFirst(b) ? -1 : 1))[0];
}
