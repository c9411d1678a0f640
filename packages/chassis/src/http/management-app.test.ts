import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { describe, it } from 'node:test';
import request from 'supertest';
import { silentLogger, testMetrics } from '../../testing/observed.ts';
import { createLifecycle } from '../lifecycle/lifecycle.ts';
import { createManagementApp } from './management-app.ts';

const logger = silentLogger();
const metrics = testMetrics();

describe('management port', () => {
  it('is ready between startup and drain, and always alive', async () => {
    const lifecycle = createLifecycle({ logger });
    const app = createManagementApp({ lifecycle, metrics, logger });
    await request(app).get('/readyz').expect(503, 'starting\n');
    lifecycle.markReady();
    await request(app).get('/readyz').expect(200, 'ready\n');
    await lifecycle.shutdown();
    await request(app).get('/readyz').expect(503, 'draining\n');
    await request(app).get('/livez').expect(200);
  });

  it('exports metrics in the Prometheus text format', async () => {
    const app = createManagementApp({ lifecycle: createLifecycle({ logger }), metrics, logger });
    const { text } = await request(app)
      .get('/metrics')
      .expect(200)
      .expect('content-type', /^text\/plain; version=/);
    assert.match(text, /^build_info\{/m);
  });

  it('exports metrics in OpenMetrics if the client prefers it', async () => {
    const app = createManagementApp({ lifecycle: createLifecycle({ logger }), metrics, logger });
    const response = await request(app)
      .get('/metrics')
      .set('Accept', 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5')
      .buffer(true)
      .parse((incoming, done) => {
        let text = '';
        incoming.on('data', (chunk) => {
          text += chunk;
        });
        incoming.on('end', () => done(null, text));
      })
      .expect(200)
      .expect('content-type', 'application/openmetrics-text; version=1.0.0; charset=utf-8');
    assert.match(String(response.body), /\n# EOF\n$/);
  });

  it('passes /events to its handler, and returns 405 without a handler', async () => {
    const dependencies = { lifecycle: createLifecycle({ logger }), metrics, logger };
    const events: RequestListener = (_request, response) => response.writeHead(204).end();
    await request(createManagementApp({ ...dependencies, events }))
      .post('/events')
      .expect(204);
    await request(createManagementApp(dependencies)).post('/events').expect(405);
  });

  it('returns 404 for other paths and 405 for other methods', async () => {
    const app = createManagementApp({ lifecycle: createLifecycle({ logger }), metrics, logger });
    await request(app)
      .get('/api/users')
      .expect(404)
      .expect('x-problem', 'not-found')
      .expect(/\/livez, \/readyz, \/metrics/);
    await request(app)
      .post('/livez')
      .expect(405)
      .expect('x-problem', 'method-not-allowed')
      .expect('allow', 'GET, HEAD');
  });
});
