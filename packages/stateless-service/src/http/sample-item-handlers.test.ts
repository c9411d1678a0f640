import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createTestIssuer } from '@zerda/chassis/testing/issuer';
import type { CallerKind } from '@zerda/contracts/authorization';
import { documentOf } from '@zerda/contracts/openapi/service-document';
import { statelessServiceContract } from '@zerda/contracts/stateless-service/contract';
import { authorizationCases } from '@zerda/contracts/testing/authorization';
import request from 'supertest';
import { createTestApp } from '../../testing/app.ts';

describe('stateless-service', () => {
  const app = createTestApp();

  it('estimates the total price', async () => {
    const { body } = await request(app).get('/api/sample-items/estimate?quantity=3').expect(200);
    assert.deepEqual(body.data, { quantity: 3, total: 7.5 });
  });

  it('rejects invalid quantities', async () => {
    for (const query of ['', '?quantity=0', '?quantity=x', '?quantity=1&other=1'])
      await request(app).get(`/api/sample-items/estimate${query}`).expect(400);
  });

  it('serves its OpenAPI document', async () => {
    const { body } = await request(app).get('/openapi.json').expect(200);
    assert.deepEqual(body, JSON.parse(JSON.stringify(documentOf(statelessServiceContract))));
  });
});

describe('authorization in stateless-service', async () => {
  const issuer = await createTestIssuer();
  const app = createTestApp(issuer.verifier);
  const tokens: Readonly<Record<CallerKind, string | undefined>> = {
    anonymous: undefined,
    'bad-token': await issuer.token({ userId: 1 }, { exp: 1 }),
    unregistered: await issuer.token({ subject: 'machine' }),
    'user-other': await issuer.token({ userId: 2 }),
    'user-self': await issuer.token({ userId: 1 }),
    admin: await issuer.token({ userId: 3, role: 'admin' }),
  };
  const paths: Readonly<Record<string, string>> = {
    sampleItemHealth: '/api/sample-items/health',
    estimateSampleItems: '/api/sample-items/estimate?quantity=1',
  };

  for (const { name, kind, status } of authorizationCases(statelessServiceContract)) {
    it(`returns ${status} for ${name} by ${kind}`, async () => {
      const test = request(app).get(paths[name] ?? '');
      if (tokens[kind] !== undefined) test.set('authorization', `Bearer ${tokens[kind]}`);
      await test.expect(status);
    });
  }
});
