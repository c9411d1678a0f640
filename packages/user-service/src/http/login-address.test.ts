import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Database } from '@zerda/chassis/database/database';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import request from 'supertest';
import { createTestApp, migrations } from '../../testing/app.ts';

/** More logins than the limit of an address allows during the test. */
const attempts = 60;

describe('client address of a login', () => {
  let database: Database;
  before(async () => {
    database = await openTestPglite(migrations);
  });
  after(() => database.close());

  /** Logs in as users that do not exist, with the headers from `headersOf`, and returns how many requests got 429. */
  async function countRejected(
    env: Record<string, string>,
    headersOf: (index: number) => Record<string, string>,
  ) {
    const { logger, lines } = recordingLogger();
    const { app } = createTestApp(database, { AUTH: 'off', ...env }, logger);
    const statuses: number[] = [];
    for (let index = 0; index < attempts; index += 1) {
      const { status } = await request(app)
        .post('/api/auth/login')
        .set(headersOf(index))
        .send({ email: `unknown${index}@example.com`, password: 'some password or other' });
      statuses.push(status);
    }
    return { rejected: statuses.filter((status) => status === 429).length, lines };
  }

  it('is the address of the connection when no proxy is trusted', async () => {
    const { rejected, lines } = await countRejected({}, (index) => ({
      'x-forwarded-for': `203.0.113.${index}`,
      'x-real-ip': `203.0.113.${index}`,
      forwarded: `for=203.0.113.${index}`,
    }));
    assert.ok(rejected > 0);
    const warnings = lines.filter(({ msg }) => msg === 'X-Forwarded-For from an untrusted address ignored');
    assert.equal(warnings.length, 1);
  });

  it('is the address in X-Forwarded-For when one proxy is trusted', async () => {
    const env = { TRUSTED_PROXY_HOPS: '1' };
    const distinctAddresses = await countRejected(env, (index) => ({
      'x-forwarded-for': `198.51.100.${index}`,
    }));
    assert.equal(distinctAddresses.rejected, 0);
    const sameAddress = await countRejected(env, (index) => ({
      'x-forwarded-for': `203.0.113.${index}, 10.1.2.3`,
    }));
    assert.ok(sameAddress.rejected > 0);
  });
});
