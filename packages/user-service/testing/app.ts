import { auditingAfterCommit } from '@zerda/chassis/audit/audit-after-commit';
import { openVerifier } from '@zerda/chassis/auth/open-verifier';
import { loadConfig } from '@zerda/chassis/config/load-config';
import { trustedProxies } from '@zerda/chassis/config/proxy-variables';
import { mapConstraints } from '@zerda/chassis/database/constraints';
import type { Database } from '@zerda/chassis/database/database';
import { createIdempotency } from '@zerda/chassis/idempotency/idempotency';
import type { Logger } from '@zerda/chassis/logging/logger';
import { openTestPglite } from '@zerda/chassis/testing/database';
import { silentLogger, testAudit, testMetrics } from '@zerda/chassis/testing/observed';
import type { Express } from 'express';
import { createApp } from '../src/app.ts';
import { variables } from '../src/config.ts';
import { openIdentity } from '../src/identity/open-identity.ts';
import { type Issuer, issuerKeys, openIssuer } from '../src/identity/open-issuer.ts';
import { constraints } from '../src/store/constraints.ts';
import { createUserStore } from '../src/store/user-store.ts';

export const migrations = new URL('../migrations/', import.meta.url);

const AUTH_KEY_SECRET = 'the secret of a test, which is long enough';

export interface TestAppOptions {
  /** Environment variables; authentication is off by default. */
  readonly env?: Record<string, string>;
  /** A new embedded database by default. */
  readonly database?: Database;
  readonly logger?: Logger;
}

/** Opens the app, by default on a new embedded database. */
export async function openTestApp({ env = {}, database, logger = silentLogger() }: TestAppOptions = {}) {
  const opened = database ?? (await openTestPglite(migrations));
  return { ...createTestApp(opened, env, logger), database: opened };
}

/** Creates an app that issues tokens, on an open database. */
export function createTestApp(plain: Database, env: Record<string, string>, logger = silentLogger()) {
  const audit = testAudit(logger);
  const database = auditingAfterCommit(mapConstraints(plain, constraints), audit);
  const config = loadConfig(variables, { AUTH: 'off', AUTH_KEY_SECRET, ...env });
  const metrics = testMetrics();
  const issuer = openIssuer(config, database);
  const proxies = trustedProxies(config, logger);
  const identity = openIdentity({ config, database, issuer, proxies, logger, metrics });
  const { authentication } = openVerifier({ config, logger, metrics, keys: issuer && issuerKeys(issuer) });
  const app: Express = createApp({
    users: createUserStore(database),
    idempotency: createIdempotency(database),
    ...identity,
    authentication,
    logger,
    audit,
    metrics,
    requestTimeoutMs: 10_000,
  });
  return { app, ...identity, issuer: issuer as Issuer, config, metrics };
}
