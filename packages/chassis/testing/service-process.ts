import { createServer } from 'node:net';
import { createManagementApp } from '../src/http/management-app.ts';
import { listen } from '../src/http/server.ts';
import { createLifecycle } from '../src/lifecycle/lifecycle.ts';
import { endOnSignals, runService } from '../src/lifecycle/run-service.ts';
import { createLogger } from '../src/logging/logger.ts';
import { createMetrics } from '../src/metrics/metrics.ts';
import { StartupError } from '../src/startup-error.ts';

/**
 * A service for shutdown tests. The first argument selects its behavior, the second is the shutdown deadline in
 * milliseconds. Prints its ports.
 */
const [behavior, deadlineMs = '1000'] = process.argv.slice(2);

await runService('testing-service', async () => {
  if (behavior === 'misconfigured') throw new StartupError('PORT must be set', 78);
  if (behavior === 'faulty') throw new TypeError('a bug');
  const logger = createLogger({ service: 'testing-service', format: 'json' });
  const lifecycle = createLifecycle({
    logger,
    drainMs: behavior === 'draining' ? 500 : 0,
    deadlineMs: Number(deadlineMs),
  });
  endOnSignals({ lifecycle, logger });
  if (behavior === 'stuck') {
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
  const management = await listen(createManagementApp({ lifecycle, metrics, logger }), {
    ...options,
    name: 'management',
  });
  lifecycle.markReady();
  process.stdout.write(`ports ${api.port} ${management.port}\n`);
});

function raise(): never {
  throw new Error('uncaught test error');
}
