import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createTestDatabase } from '../../../packages/chassis/testing/database.ts';
import type { HttpResponse } from '../../../packages/chassis/testing/http.ts';
import { eventually } from '../../../packages/chassis/testing/wait.ts';
import { sumSamples } from '../../kit/metrics.ts';
import { type System, startSystem } from '../../kit/system.ts';
import { type Client, createClient } from './client.ts';

/** A user of the attacked system with the password. */
export interface User {
  readonly id: number;
  readonly email: string;
  readonly password: string;
}

/** The tokens of a session. */
export interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
}

/** The running system with authentication required, reached through the gateway. */
export interface Target {
  readonly system: System;
  readonly client: Client;
  readonly admin: User;
  /** Sends a login and resolves with the response, whatever its status. */
  tryLogIn(user: Pick<User, 'email' | 'password'>, from?: string): Promise<HttpResponse>;
  /** Logs in. @throws AssertionError if the status is not 200 */
  logIn(user: Pick<User, 'email' | 'password'>, from?: string): Promise<Tokens>;
  /** Creates a user with a password, as the admin. */
  createUser(members?: { readonly role?: 'admin' | 'user' }): Promise<User>;
  /** Returns an access token of the admin that is valid for at least five more minutes. */
  adminToken(): Promise<string>;
  /**
   * Returns the sum of a gateway metric's samples whose text contains `labels`.
   * @throws Error if the gateway has no such metric
   */
  gatewayMetric(name: string, labels?: string): Promise<number>;
  close(): Promise<void>;
}

const admin = { id: 1, email: 'alice@example.com', password: 'the admin of the attacked system' };

/** Starts the system on PostgreSQL if TEST_DATABASE_URL is set, else on the embedded database. */
export async function openTarget(env: NodeJS.ProcessEnv = {}): Promise<Target> {
  const closes: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    for (const closeResource of closes.splice(0).reverse()) await closeResource();
  };
  try {
    const databases = await createDatabases();
    closes.push(databases.drop);
    const system = await startSystem({
      AUTH: 'required',
      AUTH_SIGN_UP: 'true',
      AUTH_ADMIN_EMAIL: admin.email,
      AUTH_ADMIN_PASSWORD: admin.password,
      LOG_LEVEL: 'warn',
      ...databases.variables,
      ...env,
    });
    closes.push(system.close);
    const client = createClient(system.gateway.url);
    closes.push(client.close);
    const target = createTarget(system, client);
    // The service creates the admin after it is ready. With an external issuer or without authentication there is no admin.
    if (env.AUTH_JWKS_URL === undefined && env.AUTH !== 'off') await eventually(target.adminToken);
    return { ...target, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function createTarget(system: System, client: Client): Omit<Target, 'close'> {
  let serial = 0;
  let token: { readonly value: string; readonly until: number } | undefined;

  const tryLogIn: Target['tryLogIn'] = ({ email, password }, from) =>
    client.send('POST', '/api/auth/login', {
      json: { email, password },
      ...(from !== undefined && { from }),
    });

  const logIn: Target['logIn'] = async (user, from) => {
    const { status, body } = await tryLogIn(user, from);
    assert.equal(status, 200, JSON.stringify(body));
    return body.data as Tokens;
  };

  async function adminToken(): Promise<string> {
    if (token === undefined || token.until < performance.now()) {
      const value = (await logIn(admin)).access_token;
      token = { value, until: performance.now() + 300_000 };
    }
    return token.value;
  }

  return {
    system,
    client,
    admin,
    tryLogIn,
    logIn,
    adminToken,
    async createUser({ role = 'user' } = {}) {
      serial += 1;
      const user = {
        email: `user${serial}.${randomUUID()}@example.com`,
        password: `a password of ${randomUUID()}`,
      };
      const { status, body } = await client.send('POST', '/api/users', {
        token: await adminToken(),
        json: { name: `User ${serial}`, ...user, role },
      });
      assert.equal(status, 201, JSON.stringify(body));
      return { ...user, id: body.data.id as number };
    },
    gatewayMetric: (name, labels) => sumSamples(system.gateway.managementUrl, name, labels),
  };
}

/** Creates a database for each service if TEST_DATABASE_URL is set. Returns the variables that select them. */
async function createDatabases() {
  const url = process.env.TEST_DATABASE_URL;
  if (url === undefined) return { variables: {}, drop: async () => undefined };
  const users = await createTestDatabase(url);
  const orders = await createTestDatabase(url).catch(async (error) => {
    await users.drop();
    throw error;
  });
  return {
    variables: { ZERDA_USER_DATABASE_URL: users.url, ZERDA_ORDER_DATABASE_URL: orders.url },
    async drop() {
      await users.drop();
      await orders.drop();
    },
  };
}
