import { bundle } from './lib/bundler.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { logVariables } from './lib/console-lines.ts';
import { requireFreePorts } from './lib/ports.ts';
import { planSystem } from './lib/services.ts';
import { supervise } from './lib/supervisor.ts';

/** The gateway alone, in front of services that run elsewhere: USER_SERVICE_URL and ORDER_SERVICE_URL say where. */
await runCommand(async () => {
  const { host, services } = planSystem(process.env);
  const gateway = services.filter(({ name }) => name === 'gateway');
  await requireFreePorts(
    host,
    gateway.flatMap(({ ports }) => ports),
  );
  await bundle('gateway');

  const { USER_SERVICE_URL, ORDER_SERVICE_URL } = process.env;
  const upstreams = {
    ...(USER_SERVICE_URL && { USER_SERVICE_URL }),
    ...(ORDER_SERVICE_URL && { ORDER_SERVICE_URL }),
  };
  const supervisor = supervise(
    gateway.map(({ name, file, env, managementUrl }) => ({
      name,
      file,
      env: { ...env, ...upstreams, ...logVariables(process.stdout, process.env) },
      readyUrl: `${managementUrl}/readyz`,
    })),
    {
      onLine: (_service, line) => console.log(line),
      onDeath: ({ name }, exitCode) => console.error(`${name} ended with exit code ${exitCode}`),
    },
  );
  onStopSignal(supervisor.stop);
  for (const { url, env } of gateway) {
    void supervisor.ready.then(() =>
      console.log(
        `gateway on ${url}: users at ${upstreams.USER_SERVICE_URL ?? env.USER_SERVICE_URL}, orders at ${upstreams.ORDER_SERVICE_URL ?? env.ORDER_SERVICE_URL}`,
      ),
    );
  }
  return supervisor.ended;
});
