import { bundle } from './lib/bundler.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { logVariables } from './lib/console-lines.ts';
import { requireFreePorts } from './lib/ports.ts';
import { bundleFile } from './lib/services.ts';
import { supervise } from './lib/supervisor.ts';

const service = 'gateway';

/**
 * `npm run gateway`: starts only the gateway, for services that run elsewhere. It reads the gateway's variables, such as
 * PORT, MANAGEMENT_PORT, ROUTES_FILE and USER_SERVICE_URL.
 */
await runCommand(async () => {
  const { HOST = '127.0.0.1', PORT = '8000', MANAGEMENT_PORT = '9090' } = process.env;
  await requireFreePorts(HOST, [
    { service, port: Number(PORT), variable: 'PORT' },
    { service, port: Number(MANAGEMENT_PORT), variable: 'MANAGEMENT_PORT' },
  ]);
  await bundle([service]);
  const supervisor = supervise(
    [
      {
        name: service,
        file: bundleFile(service),
        env: { ...process.env, HOST, PORT, MANAGEMENT_PORT, ...logVariables(process.stdout, process.env) },
        readyUrl: `http://${HOST}:${MANAGEMENT_PORT}/readyz`,
      },
    ],
    {
      onLine: (_service, line) => console.log(line),
      onUnexpectedExit: ({ name }, exitCode) => console.error(`${name} ended with exit code ${exitCode}`),
    },
  );
  onStopSignal(supervisor.stop);
  void supervisor.ready.then(() =>
    console.log(`gateway is ready on http://${HOST}:${PORT}. "npm run routes" prints its route table.`),
  );
  return supervisor.ended;
});
