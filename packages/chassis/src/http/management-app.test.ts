import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { describe, it } from 'node:test';
import request from 'supertest';
import { createLifecycle } from '../lifecycle/lifecycle.ts';
import { silentLogger, testMetrics } from '../testing.ts';
import { createManagementApp } from './management-app.ts';

describe('management port', () => {
  it('is ready only between the end of the start and the begin of the drain; alive throughout', async () => {
    const lifecycle = createLifecycle({ logger: silentLogger() });
    const app = createManagementApp({ lifecycle, metrics: testMetrics() });
    await request(app).get('/readyz').expect(503, 'starting\n');
    lifecycle.markReady();
    await request(app).get('/readyz').expect(200, 'ready\n');
    await lifecycle.shutdown();
    await request(app).get('/readyz').expect(503, 'draining\n');
    await request(app).get('/livez').expect(200);
  });

  it('shows metrics as Prometheus reads them', async () => {
    const app = createManagementApp({
      lifecycle: createLifecycle({ logger: silentLogger() }),
      metrics: testMetrics(),
    });
    const { text } = await request(app)
      .get('/metrics')
      .expect(200)
      .expect('content-type', /^text\/plain; version=/);
    assert.match(text, /^build_info\{/m);
  });

  it('hands what is posted to /events to who takes events, where there is somebody', async () => {
    const dependencies = { lifecycle: createLifecycle({ logger: silentLogger() }), metrics: testMetrics() };
    const events: RequestListener = (_request, response) => response.writeHead(204).end();
    await request(createManagementApp({ ...dependencies, events }))
      .post('/events')
      .expect(204);
    await request(createManagementApp(dependencies)).post('/events').expect(405);
  });

  it('answers nothing else', async () => {
    const app = createManagementApp({
      lifecycle: createLifecycle({ logger: silentLogger() }),
      metrics: testMetrics(),
    });
    await request(app).get('/api/users').expect(404);
    await request(app).post('/livez').expect(405).expect('allow', 'GET, HEAD');
  });
});
