import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Lifecycle } from '../lifecycle/lifecycle.ts';
import type { Metrics } from '../metrics/metrics.ts';

export interface ManagementDependencies {
  readonly lifecycle: Lifecycle;
  readonly metrics: Metrics;
  /** Takes the events of other services at `/events`; without it the path is not there. */
  readonly events?: RequestListener | undefined;
  /** Answers calls that other services sign, by path. */
  readonly calls?: ReadonlyMap<string, RequestListener> | undefined;
}

/**
 * What the platform asks, on a port of its own: `/livez` (200 while the process answers), `/readyz` (200 when open and
 * not draining, else 503) and `/metrics`. Other services post their events to `/events`, and call what they sign. Plain Node: fixed paths need no framework.
 */
export function createManagementApp({
  lifecycle,
  metrics,
  events,
  calls,
}: ManagementDependencies): RequestListener {
  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return send(response, 405, 'only GET is answered here\n');
    }
    const path = pathOf(request);
    if (path === '/livez') return send(response, 200, 'alive\n');
    if (path === '/readyz') {
      if (lifecycle.ready) return send(response, 200, 'ready\n');
      return send(response, 503, lifecycle.draining ? 'draining\n' : 'starting\n');
    }
    if (path === '/metrics') {
      const { contentType, body } = await metrics.render();
      return send(response, 200, body, contentType);
    }
    return send(response, 404, 'known paths: /livez /readyz /metrics\n');
  }

  return (request, response) => {
    if (events !== undefined && request.url === '/events') return events(request, response);
    const call = calls?.get(pathOf(request));
    if (call !== undefined) return call(request, response);
    respond(request, response).catch(() => send(response, 500, 'could not be rendered\n'));
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
