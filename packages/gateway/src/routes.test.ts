import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import { createMatch, createRoutes } from './routes.ts';

const users = { name: 'user-service' } as Upstream;
const orders = { name: 'order-service' } as Upstream;
const match = createMatch(createRoutes({ users, orders }));

describe('table of routes', () => {
  it('knows every path of both services with all its methods', () => {
    const table = createRoutes({ users, orders }).map(({ path, upstream, methods }) => [
      path,
      upstream.name,
      methods.join(' '),
    ]);
    assert.deepEqual(table.sort(), [
      ['/api/orders', 'order-service', 'GET HEAD POST'],
      ['/api/orders/health', 'order-service', 'GET HEAD'],
      ['/api/orders/stats', 'order-service', 'GET HEAD'],
      ['/api/orders/user/{user_id}', 'order-service', 'GET HEAD'],
      ['/api/orders/{id}', 'order-service', 'GET HEAD DELETE'],
      ['/api/orders/{id}/status', 'order-service', 'PUT'],
      ['/api/users', 'user-service', 'GET HEAD POST'],
      ['/api/users/health', 'user-service', 'GET HEAD'],
      ['/api/users/stats', 'user-service', 'GET HEAD'],
      ['/api/users/{id}', 'user-service', 'GET HEAD PUT DELETE'],
    ]);
  });

  it('takes any single segment for a placeholder, and the literal path before it', () => {
    assert.equal(match('/api/users/1')?.path, '/api/users/{id}');
    assert.equal(match('/api/users/a%2Fb')?.path, '/api/users/{id}');
    assert.equal(match('/api/users/health')?.path, '/api/users/health');
    assert.equal(match('/api/users/stats')?.path, '/api/users/stats');
    assert.equal(match('/api/orders/user/1')?.path, '/api/orders/user/{user_id}');
    assert.equal(match('/api/orders/user/status')?.path, '/api/orders/user/{user_id}');
    assert.equal(match('/api/orders/1/status')?.path, '/api/orders/{id}/status');
  });

  it('leaves everything else alone', () => {
    for (const path of [
      '',
      '/',
      '/api',
      '/api/users/',
      '/api//users',
      '/API/users',
      '/api/%75sers',
      '/api/users/1/orders',
      '/api/orders/../users',
      '/api/users/1/profile',
      '/api/dashboard',
      '/api/health',
    ]) {
      assert.equal(match(path), undefined, path);
    }
  });
});
