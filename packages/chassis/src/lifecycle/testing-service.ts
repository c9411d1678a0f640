import { createServer } from 'node:net';
import { createManagementApp } from '../http/management-app.ts';
import { listen } from '../http/server.ts';
import { createLogger } from '../logging/logger.ts';
import { createMetrics } from '../metrics/metrics.ts';
import { StartupError } from '../startup-error.ts';
import { createLifecycle } from './lifecycle.ts';
import { endOnSignals, runService } from './run-service.ts';

/** A service for the tests of its end: the first argument says how it behaves, the second
 * how many milliseconds closing may take; standard output tells its ports. */
const [behaviour, deadlineMs = '1000'] = process.argv.slice(2);

await runService('testing-service', async () => {
  if (behaviour === 'misconfigured') throw new StartupError('PORT must be set', 78);
  if (behaviour === 'faulty') throw new TypeError('a fault of the code');
  const logger = createLogger({ service: 'testing-service', format: 'json' });
  const lifecycle = createLifecycle({
    logger,
    drainMs: behaviour === 'draining' ? 500 : 0,
    deadlineMs: Number(deadlineMs),
  });
  endOnSignals({ lifecycle, logger });
  if (behaviour === 'stuck') {
    createServer().listen(0, '127.0.0.1');
    lifecycle.onShutdown('database', () => new Promise(() => undefined));
  }
  lifecycle.onShutdown('database', () => void process.stdout.write('database closed\n'));
  const options = { host: '127.0.0.1', port: 0, lifecycle, logger };
  const api = await listen(
    (request, response) => {
      if (request.url === '/crash') setImmediate(() => raise());
      else if (request.url === '/slow') setTimeout(() => response.end('whole'), 300);
      else response.end('quick');
    },
    { ...options, name: 'API' },
  );
  const metrics = createMetrics({ service: 'testing-service', version: '0.0.0' });
  const management = await listen(createManagementApp({ lifecycle, metrics }), {
    ...options,
    name: 'management',
  });
  lifecycle.markReady();
  process.stdout.write(`ports ${api.port} ${management.port}\n`);
});

function raise(): never {
  throw new Error('nobody caught this');
}
