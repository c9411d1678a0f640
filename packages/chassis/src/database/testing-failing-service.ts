import { runService } from '../lifecycle/run-service.ts';
import { StartupError } from '../startup-error.ts';
import { openAsService } from './testing-service-database.ts';

/** A service that has its database, in the folder it is given, and then cannot start for another reason. */
await runService('test-service', async () => {
  const { opened } = await openAsService({ env: { DATA_DIR: process.argv[2] ?? '', DEMO_DATA: 'true' } });
  await opened;
  throw new StartupError('the port is in use');
});
