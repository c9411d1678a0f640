import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeTable } from './describe-table.ts';
import { parseTable } from './read-table.ts';

it('describes a table with every effective limit', () => {
  const table = parseTable(
    `
upstreams:
  billing: { health: /healthz, max_in_flight: 7, limit: { requests: 70, per_seconds: 1 } }
  user-service: {}
defaults: { retries: 0, total_timeout_ms: 900, limit: { requests: 9, per_seconds: 60 } }
routes:
  - { path: /bills, methods: [GET, POST], upstream: billing, timeout_ms: 300, body_limit_bytes: 10, encoded_slashes: allow }
  - { path: '/bills/{id}', methods: [GET], upstream: billing, retries: 2, access: admin, cache: { ttl_ms: 500, request_headers: [x-tenant] }, shed: off, cors: { origins: ['https://a.test'], credentials: true } }
aggregates:
  - path: /overview/{id}
    limit: off
    access: public
    parts:
      user: { upstream: user-service, path: '/api/users/{id}', required: true }
      bills: { upstream: billing, path: /bills, timeout_ms: 50, cache: { ttl_ms: 100 } }
    answer: { user: { from: user.data } }
`,
    'table',
  );
  const urls = { BILLING_SERVICE_URL: 'http://billing:80', USER_SERVICE_URL: 'http://users:80' };
  assert.equal(
    describeTable(table, { urls, timeoutMs: 5000 }),
    `
Upstreams
  billing       http://billing:80  max 7 in flight  health /healthz  limit 70/1 s
  user-service  http://users:80

Routes
  GET POST  /bills       -> billing  300 ms (slow 150)    idle 30000 ms  total 900 ms  body 10 B       0 retries  encoded slashes, access user, limit 9/60 s
  GET       /bills/{id}  -> billing  5000 ms (slow 2500)  idle 30000 ms  total 900 ms  body 1048576 B  2 retries  CORS https://a.test with credentials, never shed, access admin, limit 9/60 s, cache 500 ms by x-tenant

Aggregates
  GET  /overview/{id}  required user   <- user-service /api/users/{id}  5000 ms  access public
                       optional bills  <- billing /bills                50 ms    cache 100 ms

Own endpoints
  documentation  limit 300/60 s
  health         limit 600/60 s, never shed
  preflight      limit 5000/10 s
  unmatched      limit 1000/60 s`.trimStart(),
  );
});
