import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { testMetrics } from '../testing.ts';
import { createMetrics } from './metrics.ts';

describe('metrics', () => {
  it('measures a request under its route pattern and shows it as active until it ends', async () => {
    const metrics = testMetrics();
    metrics.requestStarted();
    assert.match((await metrics.render()).body, /^http_server_active_requests 1$/m);
    metrics.requestEnded({ method: 'GET', route: '/api/users/{id}', status: 200 }, 0.02);
    const { body } = await metrics.render();
    assert.match(body, /^http_server_active_requests 0$/m);
    assert.match(
      body,
      /^http_server_request_duration_seconds_count\{http_request_method="GET",http_route="\/api\/users\/\{id\}",http_response_status_code="200"\} 1$/m,
    );
    assert.match(body, /^http_server_request_duration_seconds_sum\{.*\} 0\.02$/m);
  });

  it('shows circuits, upstream calls, pools, event loop lag and what runs', async () => {
    const metrics = createMetrics({ service: 'gateway', version: '1.2.3' });
    metrics.circuitEvent('orders', 'open');
    metrics.circuitState('orders', 2);
    metrics.upstreamCall('orders', 'success', 0.02);
    metrics.pool('database', () => ({ size: 5, idle: 3, waiting: 1 }));
    const { body, contentType } = await metrics.render();
    assert.match(contentType, /^text\/plain; version=0\.0\.4/);
    for (const line of [
      'circuit_breaker_events_total{circuit="orders",event="open"} 1',
      'circuit_breaker_state{circuit="orders"} 2',
      'http_client_request_duration_seconds_count{upstream="orders",outcome="success"} 1',
      'pool_connections{pool="database",state="used"} 2',
      'pool_connections{pool="database",state="waiting"} 1',
      `build_info{service="gateway",version="1.2.3",node="${process.version}"} 1`,
    ]) {
      assert.ok(body.split('\n').includes(line), line);
    }
    assert.match(body, /^nodejs_eventloop_lag_seconds /m);
  });

  it('keeps two services in one process apart', async () => {
    const first = testMetrics();
    first.circuitState('orders', 1);
    assert.doesNotMatch((await testMetrics().render()).body, /circuit_breaker_state\{/);
  });
});
