import { signatureHeader } from '@zerda/chassis/auth/signature';
import { signedCallHeaders } from '@zerda/chassis/auth/signed-call';
import { rowsOf } from '@zerda/chassis/database/rows-of';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { createLifecycle } from '@zerda/chassis/lifecycle/lifecycle';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { silentLogger, testMetrics } from '@zerda/chassis/testing/observed';
import { pactAdminToken } from '@zerda/chassis/testing/pact-library';
import type { PactProvider } from '@zerda/chassis/testing/pact-provider';
import type { Operation } from '@zerda/contracts/protocol/operation';
import { userServiceContract } from '@zerda/contracts/user-service/contract';
import { userIdsPath } from '@zerda/contracts/user-service/user-ids';
import { sql } from 'drizzle-orm';
import request from 'supertest';
import { createUserIds } from '../src/http/user-ids.ts';
import { createUserStore } from '../src/store/user-store.ts';
import { createTestApp, migrations } from './app.ts';

const secrets = ['the secret that services sign with in pacts'];

const managementOperations: readonly Operation[] = Object.values(userServiceContract.management);

/** Opens user-service on an embedded database for the verification of pacts. Each state starts with empty tables. */
export async function openPactProvider(): Promise<PactProvider> {
  const database = await openTestPglite(migrations);
  const logger = silentLogger();
  const { app, issuer } = createTestApp(database, { AUTH: 'required' });
  const unauthenticated = createTestApp(database, { AUTH: 'off' }).app;
  const users = createUserStore(database);
  const management = createManagementApp({
    lifecycle: createLifecycle({ logger }),
    metrics: testMetrics(),
    logger,
    calls: new Map([[userIdsPath, createUserIds({ users: () => users, secrets, logger })]]),
  });

  /** Removes all users and their events. @param nextId id of the next user */
  async function removeUsers(nextId = 1): Promise<void> {
    await database.transaction(async (tx) => {
      await tx.execute(sql`truncate users, user_counters, outbox cascade`);
      await tx.execute(sql.raw(`alter table users alter column id restart with ${nextId}`));
    });
  }

  async function createUser(): Promise<string> {
    const created = await request(unauthenticated)
      .post('/api/users')
      .send({ name: 'Ada', email: 'ada@example.com' })
      .expect(201);
    return created.headers.location as string;
  }

  return {
    name: userServiceContract.name,
    listener: (incoming, response) => {
      const path = incoming.url?.split('?', 1)[0];
      const isManagement = managementOperations.some((operation) => operation.path === path);
      if (isManagement) management(incoming, response);
      else app(incoming, response);
    },
    states: {
      'no user exists': () => removeUsers(),
      'a user exists': async ({ id }) => {
        await removeUsers(Number(id));
        await createUser();
      },
    },
    async findEvent(type) {
      await removeUsers(7);
      const path = await createUser();
      for (const change of [{ name: 'Ada Lovelace' }, { email: 'lovelace@example.com' }, { role: 'admin' }])
        await request(unauthenticated).put(path).send(change).expect(200);
      await request(unauthenticated).delete(path).expect(200);
      const rows = await database.query((db) =>
        rowsOf<{ event: { type: string } }>(db, sql`select event from outbox order by position`),
      );
      return rows.find(({ event }) => event.type === type)?.event;
    },
    async credentials({ headers, url = '' }) {
      const createToken = await issuer.tokens.prepare();
      return {
        ...(headers.authorization === `Bearer ${pactAdminToken}` && {
          authorization: `Bearer ${await createToken({ id: 1, role: 'admin' })}`,
        }),
        ...(headers[signatureHeader] !== undefined && signedCallHeaders(url, secrets)),
      };
    },
    close: () => database.close(),
  };
}
