import assert from 'node:assert/strict';
import { Agent, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { createTestIssuer, type TestIssuer, testIssuerName } from '../../packages/chassis/testing/issuer.ts';
import { readSeries } from '../kit/metrics.ts';
import { type Service, type System, startSystem } from '../kit/system.ts';

/** Requests by service, each with another path, user and client. Clients reach only the gateway. */
const requestCounts = { gateway: 7000, users: 1500, orders: 1500 } as const;
/** Requests that produce every combination of method and kind of path, and so every series. */
const warmUpCount = 600;

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND', 'M-SEARCH', 'PURGE'];

const paths: readonly ((n: number) => string)[] = [
  (n) => `/${n}/${n}`,
  (n) => `/api/users/${n + 1000}`,
  (n) => `/api/users/${n}x`,
  (n) => `/api/orders/${n + 1000}`,
  (n) => `/api/orders/user/${n + 1000}?limit=${n}`,
  (n) => `/api/orders/${n}/%2e%2e/${n}`,
  (n) => `/api/users/${n + 1000}/profile`,
  (n) => `/problems/${n}`,
  (n) => `/%ff${n}`,
];

describe('series of a service', () => {
  let issuer: TestIssuer;
  let system: System;
  const jwks = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json').end(JSON.stringify(issuer.keySet));
  });

  before(async () => {
    issuer = await createTestIssuer();
    await new Promise<void>((resolve) => jwks.listen(0, '127.0.0.1', resolve));
    system = await startSystem({
      AUTH: 'required',
      AUTH_ISSUER: testIssuerName,
      AUTH_JWKS_URL: `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/`,
      TRUSTED_PROXY_HOPS: '1',
      RATE_LIMIT_FACTOR: '0',
      LOG_LEVEL: 'error',
    });
  });
  after(async () => {
    await system?.close();
    jwks.close();
  });

  async function send(service: Service, agent: Agent, n: number): Promise<void> {
    const token = n % 4 === 0 ? await issuer.token({ userId: n + 1000 }) : undefined;
    await sendRequest(service.url, {
      agent,
      token,
      method: methods[n % methods.length] ?? 'GET',
      path: (paths[n % paths.length] ?? String)(n),
      headers: {
        'user-agent': `client ${n}`,
        'x-correlation-id': `request-${n}`,
        'x-forwarded-for': `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`,
        'idempotency-key': `key-${n}`,
      },
    });
  }

  async function sendAll(service: Service, from: number, to: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 16 });
    let next = from;
    const client = async (): Promise<void> => {
      while (next < to) await send(service, agent, next++);
    };
    await Promise.all(Array.from({ length: 16 }, client));
    agent.destroy();
  }

  for (const [name, count] of Object.entries(requestCounts)) {
    it(`do not grow with odd paths, users, methods and clients of ${name}`, async () => {
      const service = system[name as keyof typeof requestCounts];
      await sendAll(service, 0, warmUpCount);
      const warm = await readSeries(service.managementUrl);
      await sendAll(service, warmUpCount, count);
      const grown = (await readSeries(service.managementUrl)).filter((series) => !warm.includes(series));
      assert.deepEqual(grown, []);
      assert.ok(warm.length < 3000, `${warm.length} series`);
    });
  }
});
