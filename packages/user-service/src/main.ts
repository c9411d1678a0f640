import { openVerifier } from '@zerda/chassis/auth/open-verifier';
import { trustedProxies } from '@zerda/chassis/config/proxy-variables';
import { openServiceDatabase } from '@zerda/chassis/database/service-database';
import { runEventsCommand } from '@zerda/chassis/events/events-command';
import { eventSecrets, openServiceEvents } from '@zerda/chassis/events/service-events';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { createClientInLog } from '@zerda/chassis/http/request-observer';
import { listen } from '@zerda/chassis/http/server';
import { startKeyCleaner } from '@zerda/chassis/idempotency/clean-keys';
import { openProcess } from '@zerda/chassis/lifecycle/open-process';
import { readCommand, runService } from '@zerda/chassis/lifecycle/run-service';
import { userIdsPath } from '@zerda/contracts/user-ids';
import packageJson from '../package.json' with { type: 'json' };
import { createApp } from './app.ts';
import { userServiceVariables } from './config.ts';
import { loadDemoUsers } from './demo-data.ts';
import { createUserIds } from './http/user-ids.ts';
import { startIdentityCleaner } from './identity/clean-identity.ts';
import { startFirstAdmin } from './identity/first-admin.ts';
import { runKeysCommand } from './identity/keys-command.ts';
import { openIdentity } from './identity/open-identity.ts';
import { openIssuer, ownKeys, requireIssuer } from './identity/open-issuer.ts';
import { constraints } from './store/constraints.ts';
import { createUserStore, type UserStore } from './store/user-store.ts';

const service = 'user-service';

await runService(service, async () => {
  const words = process.argv.slice(2);
  const command = readCommand(words, ['keys']);
  const basics = openProcess({
    ...{ service, version: packageJson.version },
    variables: userServiceVariables,
    quiet: command === 'events' || command === 'keys',
  });
  const { config, logger, metrics, lifecycle } = basics;
  const { HOST: host, PORT: port, MANAGEMENT_PORT: managementPort } = config;

  const openDatabase = () =>
    openServiceDatabase({
      ...basics,
      migrate: command === 'migrate' || config.MIGRATE_ON_START,
      migrations: new URL('../migrations/', import.meta.url),
      constraints,
      demoData: loadDemoUsers,
    });
  if (command === 'migrate') {
    await openDatabase();
    return lifecycle.shutdown();
  }

  if (command === 'events') {
    await runEventsCommand({
      service,
      words: words.slice(1),
      database: await openDatabase(),
      print: console.log,
    });
    return lifecycle.shutdown();
  }

  if (command === 'keys') {
    const keys = openIssuer(config, await openDatabase())?.keys;
    await runKeysCommand({ words: words.slice(1), keys, print: console.log });
    return lifecycle.shutdown();
  }

  requireIssuer(config);
  const proxies = trustedProxies(config, logger);
  let users: UserStore | undefined;
  const secrets = eventSecrets(config);
  const calls = new Map([[userIdsPath, createUserIds({ users: () => users, secrets, logger })]]);
  const management = createManagementApp({
    lifecycle,
    metrics,
    calls: secrets.length === 0 ? undefined : calls,
  });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const database = await openDatabase();
  startKeyCleaner({ database, lifecycle, logger });
  startIdentityCleaner({ database, lifecycle, logger });

  const events = await openServiceEvents({ ...basics, database });
  const issuer = openIssuer(config, events);
  const identity = openIdentity({ config, database: events, issuer, proxies, logger, metrics });
  startFirstAdmin({ config, database: events, issuer, lifecycle, logger });
  users = createUserStore(events);
  const { authentication } = openVerifier({ config, logger, keys: issuer && ownKeys(issuer) });
  const app = createApp({
    users,
    ...identity,
    authentication,
    logger,
    metrics,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    requestLog: {
      clientInLog: createClientInLog(config.LOG_CLIENT_ADDRESS, identity.clientAddress),
      subjectInLog: config.LOG_SUBJECT,
    },
  });
  await listen(app, { name: 'API', host, port, lifecycle, logger, metrics });
  lifecycle.markReady();
});
