import { openServiceDatabase } from '@zerda/chassis/database/service-database';
import { runCommand } from '@zerda/chassis/lifecycle/run-command';
import { runService } from '@zerda/chassis/lifecycle/run-service';
import { logs } from '@zerda/chassis/logging/logs-command';
import packageJson from '../package.json' with { type: 'json' };
import { events } from './commands/events.ts';
import { variables } from './config.ts';
import { databaseSchema } from './database-schema.ts';
import { serve } from './serve.ts';

const service = 'sample-service';

await runService(service, () =>
  runCommand({
    service,
    version: packageJson.version,
    variables,
    args: process.argv.slice(2),
    serve,
    migrate: (opened) => openServiceDatabase({ ...opened, ...databaseSchema, migrate: true }),
    commands: { events, logs },
  }),
);
