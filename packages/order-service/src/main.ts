import { openVerifier } from '@zerda/chassis/auth/open-verifier';
import { upstreamSettings } from '@zerda/chassis/config/common-variables';
import { openServiceDatabase } from '@zerda/chassis/database/service-database';
import { eventSecrets, openServiceEvents, openServiceSink } from '@zerda/chassis/events/service-events';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { listen } from '@zerda/chassis/http/server';
import { createUpstream } from '@zerda/chassis/http-client/upstream';
import { startKeyCleaner } from '@zerda/chassis/idempotency/clean-keys';
import { openProcess } from '@zerda/chassis/lifecycle/open-process';
import { readCommand, runService } from '@zerda/chassis/lifecycle/run-service';
import packageJson from '../package.json' with { type: 'json' };
import { createApp } from './app.ts';
import { orderServiceVariables } from './config.ts';
import { loadDemoOrders } from './demo-data.ts';
import { runOrderEvents } from './events/run-order-events.ts';
import { userSubscriptions } from './events/user-subscriptions.ts';
import { createHttpUserDirectory } from './http-user-directory.ts';
import { createSignedUserList } from './signed-user-list.ts';
import { constraints } from './store/constraints.ts';
import { createOrderStore } from './store/order-store.ts';
import { createVerificationKeys } from './store/verification-keys.ts';

const service = 'order-service';

await runService(service, async () => {
  const words = process.argv.slice(2);
  const command = readCommand(words);
  const basics = openProcess({
    ...{ service, version: packageJson.version },
    variables: orderServiceVariables,
    quiet: command === 'events',
  });
  const { config, logger, metrics, lifecycle } = basics;
  const { HOST: host, PORT: port, MANAGEMENT_PORT: managementPort } = config;

  const openDatabase = () =>
    openServiceDatabase({
      ...basics,
      migrate: command === 'migrate' || config.MIGRATE_ON_START,
      migrations: new URL('../migrations/', import.meta.url),
      constraints,
      demoData: loadDemoOrders,
    });
  if (command === 'migrate') {
    await openDatabase();
    return lifecycle.shutdown();
  }

  const openUserService = (baseUrl: string) =>
    createUpstream({
      name: 'user-service',
      baseUrl,
      logger,
      lifecycle,
      metrics,
      ...upstreamSettings(config),
    });
  if (command === 'events') {
    const secrets = eventSecrets(config);
    const userService = openUserService(config.USER_SERVICE_MANAGEMENT_URL);
    await runOrderEvents(words.slice(1), {
      database: await openDatabase(),
      users: secrets.length === 0 ? undefined : createSignedUserList({ userService, secrets }),
      logger,
      metrics,
    });
    return lifecycle.shutdown();
  }

  const sink = openServiceSink(basics);
  const management = createManagementApp({ lifecycle, metrics, events: sink?.listener });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const database = await openDatabase();
  startKeyCleaner({ database, lifecycle, logger });

  const events = await openServiceEvents({
    ...basics,
    ...{ database, sink },
    subscriptions: userSubscriptions,
  });
  const { authentication, keySet } = openVerifier({
    ...{ config, logger, userServiceUrl: config.USER_SERVICE_URL },
    store: createVerificationKeys(database),
  });
  const app = createApp({
    orders: createOrderStore(events),
    users: createHttpUserDirectory(openUserService(config.USER_SERVICE_URL)),
    authentication,
    keySet,
    logger,
    metrics,
    requestTimeoutMs: config.REQUEST_TIMEOUT_MS,
    requestLog: { subjectInLog: config.LOG_SUBJECT },
  });
  await listen(app, { name: 'API', host, port, lifecycle, logger, metrics });
  lifecycle.markReady();
});
