import { runCommand } from '@zerda/chassis/lifecycle/run-command';
import { runService } from '@zerda/chassis/lifecycle/run-service';
import { logs } from '@zerda/chassis/logging/logs-command';
import packageJson from '../package.json' with { type: 'json' };
import { variables } from './config.ts';
import { serve } from './serve.ts';

const service = 'stateless-service';

await runService(service, () =>
  runCommand({
    service,
    version: packageJson.version,
    variables,
    args: process.argv.slice(2),
    serve,
    commands: { logs },
  }),
);
