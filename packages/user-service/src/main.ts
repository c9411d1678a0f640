import { openServiceDatabase } from '@zerda/chassis/database/service-database';
import { runEventsCommand } from '@zerda/chassis/events/events-command';
import { openServiceEvents } from '@zerda/chassis/events/service-events';
import { createManagementApp } from '@zerda/chassis/http/management-app';
import { listen } from '@zerda/chassis/http/server';
import { startKeyCleaner } from '@zerda/chassis/idempotency/clean-keys';
import { openProcess } from '@zerda/chassis/lifecycle/open-process';
import { readCommand, runService } from '@zerda/chassis/lifecycle/run-service';
import packageJson from '../package.json' with { type: 'json' };
import { createApp } from './app.ts';
import { userServiceVariables } from './config.ts';
import { loadDemoUsers } from './demo-data.ts';
import { createUserStore } from './store/user-store.ts';

const service = 'user-service';

await runService(service, async () => {
  const words = process.argv.slice(2);
  const command = readCommand(words);
  const basics = openProcess({
    ...{ service, version: packageJson.version },
    variables: userServiceVariables,
    quiet: command === 'events',
  });
  const { config, logger, metrics, lifecycle } = basics;
  const { HOST: host, PORT: port, MANAGEMENT_PORT: managementPort } = config;

  const openDatabase = () =>
    openServiceDatabase({
      ...basics,
      migrate: command === 'migrate' || config.MIGRATE_ON_START,
      migrations: new URL('../migrations/', import.meta.url),
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

  const management = createManagementApp({ lifecycle, metrics });
  await listen(management, { name: 'management', host, port: managementPort, lifecycle, logger });

  const database = await openDatabase();
  startKeyCleaner({ database, lifecycle, logger });

  const events = await openServiceEvents({ ...basics, database });
  const users = createUserStore(events);
  const app = createApp({ users, logger, metrics, requestTimeoutMs: config.REQUEST_TIMEOUT_MS });
  await listen(app, { name: 'API', host, port, lifecycle, logger });
  lifecycle.markReady();
});
