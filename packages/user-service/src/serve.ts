import { openVerifier } from '@zerda/chassis/auth/open-verifier';
import { trustedProxies } from '@zerda/chassis/config/proxy-variables';
import { openServiceDatabase } from '@zerda/chassis/database/service-database';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { createClientInLog } from '@zerda/chassis/http/request-observer';
import { listen } from '@zerda/chassis/http/server';
import { startKeyCleaner } from '@zerda/chassis/idempotency/clean-keys';
import { createIdempotency } from '@zerda/chassis/idempotency/idempotency';
import { logLevelCalls } from '@zerda/chassis/logging/log-level-call';
import { openTracing } from '@zerda/chassis/tracing/open-tracing';
import { userIdsPath } from '@zerda/contracts/user-service/user-ids';
import { eventSecrets } from '@zerda/events/event-variables';
import { openServiceEvents } from '@zerda/events/service-events';
import { createApp } from './app.ts';
import type { UserServiceProcess } from './config.ts';
import { databaseSchema } from './database-schema.ts';
import { createUserIds } from './http/user-ids.ts';
import { startIdentityCleaner } from './identity/clean-identity.ts';
import { startFirstAdmin } from './identity/first-admin.ts';
import { registerKeyAge } from './identity/key-age.ts';
import { openIdentity } from './identity/open-identity.ts';
import { issuerKeys, openIssuer, requireIssuer } from './identity/open-issuer.ts';
import { createUserStore, type UserStore } from './store/user-store.ts';

/** Serves the API and sends events until the process stops. */
export async function serve(service: UserServiceProcess): Promise<void> {
  const { config, logger, audit, metrics, lifecycle } = service;
  const { HOST: host, PORT: port, MANAGEMENT_PORT: managementPort } = config;
  const tracer = await openTracing(service);

  requireIssuer(config);
  const proxies = trustedProxies(config, logger);
  let users: UserStore | undefined;
  const secrets = eventSecrets(config);
  const calls = new Map(logLevelCalls(service));
  if (secrets.length > 0) calls.set(userIdsPath, createUserIds({ users: () => users, secrets, logger }));
  const management = createManagementApp({ lifecycle, metrics, logger, calls });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const plainDatabase = await openServiceDatabase({ ...service, ...databaseSchema });
  startKeyCleaner({ database: plainDatabase, lifecycle, logger });
  startIdentityCleaner({ database: plainDatabase, lifecycle, logger });
  const database = await openServiceEvents({ ...service, tracer, database: plainDatabase });

  const issuer = openIssuer(config, database);
  const identity = openIdentity({ config, database, issuer, proxies, logger, metrics });
  if (issuer !== undefined) registerKeyAge(metrics.registry, issuer.keys);
  startFirstAdmin({ config, database, issuer, lifecycle, logger });
  users = createUserStore(database);
  const { authentication } = openVerifier({ config, logger, metrics, keys: issuer && issuerKeys(issuer) });
  const app = createApp({
    users,
    idempotency: createIdempotency(database, logger),
    ...identity,
    authentication,
    logger,
    audit,
    metrics,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    tracer,
    requestLog: {
      clientInLog: createClientInLog(config.LOG_CLIENT_ADDRESS, identity.clientAddress),
      subjectInLog: config.LOG_SUBJECT,
    },
  });
  await listen(app, { name: 'API', host, port, lifecycle, logger, metrics });
  lifecycle.markReady();
}
