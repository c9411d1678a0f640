import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { Failure } from '../failure.ts';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Logger } from '../logging/logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { preferredFormat } from '../metrics/metrics-format.ts';
import { sendError } from './problem-response.ts';

export interface ManagementDependencies {
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  readonly logger: Pick<Logger, 'warn' | 'error'>;
  /** Handler of `/events`, which receives events of other services; if omitted, the path returns 404. */
  readonly events?: RequestListener | undefined;
  /** Handlers of signed calls of other services, by path. */
  readonly calls?: ReadonlyMap<string, RequestListener> | undefined;
}

/**
 * Creates the application of the management port: `/livez` (200 while the process runs), `/readyz` (200 if the service is started and
 * not draining, else 503), `/metrics`, `/events` and signed calls. It uses plain Node.js, since its paths are fixed.
 */
export function createManagementApp({
  lifecycle,
  metrics,
  logger,
  events,
  calls,
}: ManagementDependencies): RequestListener {
  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      throw new Failure('method-not-allowed', { allowedMethods: ['GET', 'HEAD'] });
    const path = pathOf(request);
    if (path === '/livez') return send(response, 200, 'alive\n');
    if (path === '/readyz') {
      if (lifecycle.ready) return send(response, 200, 'ready\n');
      return send(response, 503, lifecycle.draining ? 'draining\n' : 'starting\n');
    }
    if (path === '/metrics') {
      const { contentType, body } = await metrics.render(preferredFormat(request.headers.accept));
      return send(response, 200, body, contentType);
    }
    throw new Failure('not-found', { detail: 'Available paths: /livez, /readyz, /metrics.' });
  }

  return (request, response) => {
    if (events !== undefined && request.url === '/events') return events(request, response);
    const call = calls?.get(pathOf(request));
    if (call !== undefined) return call(request, response);
    respond(request, response).catch((error: unknown) => sendError(request, response, error, logger));
  };
}

function pathOf({ url = '/' }: IncomingMessage): string {
  return url.split('?', 1)[0] ?? '';
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  contentType = 'text/plain; charset=utf-8',
): void {
  response.statusCode = status;
  response.setHeader('Content-Type', contentType);
  response.setHeader('Cache-Control', 'no-store');
  response.end(body);
}
