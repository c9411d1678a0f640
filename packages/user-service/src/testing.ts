import { openVerifier } from '@zerda/chassis/auth/open-verifier';
import { loadConfig } from '@zerda/chassis/config/load-config';
import { trustedProxies } from '@zerda/chassis/config/proxy-variables';
import { mapConstraints } from '@zerda/chassis/database/constraints';
import type { Database } from '@zerda/chassis/database/database';
import { openTestPglite } from '@zerda/chassis/database/testing';
import type { Logger } from '@zerda/chassis/logging/logger';
import { silentLogger, testMetrics } from '@zerda/chassis/testing';
import type { Express } from 'express';
import { createApp } from './app.ts';
import { userServiceVariables } from './config.ts';
import { openIdentity } from './identity/open-identity.ts';
import { type Issuer, openIssuer, ownKeys } from './identity/open-issuer.ts';
import { constraints } from './store/constraints.ts';
import { createUserStore } from './store/user-store.ts';

export const migrations = new URL('../migrations/', import.meta.url);

/** Secret of the keys of a test's service. */
const AUTH_KEY_SECRET = 'the secret of a test, which is long enough';

export interface TestAppOptions {
  /** Variables of the service beside those of tests: authentication is off. */
  readonly env?: Record<string, string>;
  /** An embedded one of its own by default. */
  readonly database?: Database;
  readonly logger?: Logger;
}

/** The whole service, on an embedded database of its own unless it is given one. */
export async function openTestApp({ env = {}, database, logger = silentLogger() }: TestAppOptions = {}) {
  const opened = database ?? (await openTestPglite(migrations));
  return { ...createTestApp(opened, env, logger), database: opened };
}

/** A service that issues tokens, on a database that there is. */
export function createTestApp(plain: Database, env: Record<string, string>, logger = silentLogger()) {
  const database = mapConstraints(plain, constraints);
  const config = loadConfig(userServiceVariables, { AUTH: 'off', AUTH_KEY_SECRET, ...env });
  const metrics = testMetrics();
  const issuer = openIssuer(config, database);
  const proxies = trustedProxies(config, logger);
  const identity = openIdentity({ config, database, issuer, proxies, logger, metrics });
  const { authentication } = openVerifier({ config, logger, keys: issuer && ownKeys(issuer) });
  const app: Express = createApp({
    users: createUserStore(database),
    ...identity,
    authentication,
    logger,
    metrics,
    requestTimeoutMs: 10_000,
  });
  return { app, ...identity, issuer: issuer as Issuer, config, metrics };
}
