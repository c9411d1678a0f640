import { runService } from '../src/lifecycle/run-service.ts';
import { StartupError } from '../src/startup-error.ts';
import { openAsService } from './service-database.ts';

/** A service that opens its database in the given folder and then fails to start for another reason. */
await runService('test-service', async () => {
  const { opened } = await openAsService({ env: { DATA_DIR: process.argv[2] ?? '', DEMO_DATA: 'true' } });
  await opened;
  throw new StartupError('the port is in use');
});
