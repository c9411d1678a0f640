import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { openTestPglite } from '@zerda/chassis/database/testing';
import { recordingLogger } from '@zerda/chassis/testing';
import request from 'supertest';
import { createTestApp, migrations } from '../testing.ts';

/** More logins than an address has at once, or regains meanwhile. */
const tries = 60;

describe('address that a login counts for', () => {
  let database: Database;
  before(async () => {
    database = await openTestPglite(migrations);
  });
  after(() => database.close());

  /** Tries to log in as users that there are not, with what `headersOf` gives for each; returns how many were refused with 429. */
  async function refusedOf(
    env: Record<string, string>,
    headersOf: (index: number) => Record<string, string>,
  ) {
    const { logger, lines } = recordingLogger();
    const { app } = createTestApp(database, { AUTH: 'off', ...env }, logger);
    const statuses: number[] = [];
    for (let index = 0; index < tries; index += 1) {
      const { status } = await request(app)
        .post('/api/auth/login')
        .set(headersOf(index))
        .send({ email: `nobody${index}@example.com`, password: 'some password or other' });
      statuses.push(status);
    }
    return { refused: statuses.filter((status) => status === 429).length, lines };
  }

  it('is that of the connection when no proxy is trusted, whatever the headers say', async () => {
    const { refused, lines } = await refusedOf({}, (index) => ({
      'x-forwarded-for': `203.0.113.${index}`,
      'x-real-ip': `203.0.113.${index}`,
      forwarded: `for=203.0.113.${index}`,
    }));
    assert.ok(refused > 0);
    const warnings = lines.filter(({ msg }) => msg === 'X-Forwarded-For from an untrusted address ignored');
    assert.equal(warnings.length, 1);
  });

  it('is that which the gateway sends when one proxy is trusted', async () => {
    const env = { TRUSTED_PROXY_HOPS: '1' };
    const apart = await refusedOf(env, (index) => ({ 'x-forwarded-for': `198.51.100.${index}` }));
    assert.equal(apart.refused, 0);
    const together = await refusedOf(env, (index) => ({
      'x-forwarded-for': `203.0.113.${index}, 10.1.2.3`,
    }));
    assert.ok(together.refused > 0);
  });
});
