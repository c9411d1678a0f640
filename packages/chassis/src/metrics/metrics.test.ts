import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { testMetrics } from '../../testing/observed.ts';
import { createMetrics } from './metrics.ts';

describe('metrics', () => {
  it('records a request under its route pattern and counts it as active until it ends', async () => {
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

  it('exports circuits, upstream calls, pools, event loop lag and build information', async () => {
    const metrics = createMetrics({ service: 'gateway', version: '1.2.3' });
    metrics.circuitEvent('orders', 'open');
    metrics.circuitState('orders', 2);
    metrics.upstreamCall('orders', 'success', 0.02);
    metrics.upstreamAddresses('orders', () => ({ available: 2, ejected: 1 }));
    metrics.databaseOperation('query', 'succeeded', 0.001);
    metrics.pool('database', () => ({ size: 5, idle: 3, waiting: 1, max: 8 }));
    const { body, contentType } = await metrics.render();
    assert.match(contentType, /^text\/plain; version=0\.0\.4/);
    for (const line of [
      'circuit_breaker_events_total{circuit="orders",event="open"} 1',
      'circuit_breaker_state{circuit="orders"} 2',
      'http_client_request_duration_seconds_count{upstream="orders",outcome="success"} 1',
      'pool_connections{pool="database",state="used"} 2',
      'pool_connections{pool="database",state="waiting"} 1',
      'pool_max_connections{pool="database"} 8',
      'upstream_addresses{upstream="orders",state="available"} 2',
      'upstream_addresses{upstream="orders",state="ejected"} 1',
      'db_client_operation_duration_seconds_count{operation="query",outcome="succeeded"} 1',
      `build_info{service="gateway",version="1.2.3",node="${process.version}"} 1`,
    ]) {
      assert.ok(body.split('\n').includes(line), line);
    }
    assert.match(body, /^nodejs_eventloop_lag_seconds /m);
  });

  it('exports each event of a circuit from the start', async () => {
    const metrics = testMetrics();
    metrics.circuitState('orders', 0);
    metrics.circuitEvent('orders', 'reject');
    metrics.circuitState('orders', 2);
    const { body } = await metrics.render();
    assert.match(body, /^circuit_breaker_events_total\{circuit="orders",event="open"\} 0$/m);
    assert.match(body, /^circuit_breaker_events_total\{circuit="orders",event="reject"\} 1$/m);
  });

  it('exports the time of the event loop and the limit of the heap', async () => {
    const metrics = testMetrics();
    await metrics.render();
    const busyUntil = performance.now() + 20;
    while (performance.now() < busyUntil);
    const { body } = await metrics.render();
    const active = /^nodejs_eventloop_time_seconds_total\{nodejs_eventloop_state="active"\} (\S+)$/m.exec(
      body,
    );
    assert.ok(Number(active?.[1]) >= 0.02, body);
    assert.match(body, /^nodejs_eventloop_time_seconds_total\{nodejs_eventloop_state="idle"\} \S+$/m);
    assert.match(body, /^nodejs_heap_size_limit_bytes [1-9]\d+$/m);
  });

  it('exports the memory limit of the container, and none above the memory of the machine', async (context) => {
    const limit = context.mock.method(process, 'constrainedMemory', () => 268_435_456);
    assert.match((await testMetrics().render()).body, /^process_memory_limit_bytes 268435456$/m);
    limit.mock.mockImplementation(() => 2 ** 64);
    assert.doesNotMatch((await testMetrics().render()).body, /^process_memory_limit_bytes \d/m);
  });

  it('records other methods than those of HTTP as _OTHER', async () => {
    const metrics = testMetrics();
    for (const method of ['PROPFIND', 'M-SEARCH', '']) {
      metrics.requestStarted();
      metrics.requestEnded({ method, route: 'unmatched', status: 404 }, 0.001);
    }
    assert.match((await metrics.render()).body, /_seconds_count\{http_request_method="_OTHER",.*\} 3$/m);
  });

  it('separates two services in one process', async () => {
    const first = testMetrics();
    first.circuitState('orders', 1);
    assert.doesNotMatch((await testMetrics().render()).body, /circuit_breaker_state\{/);
  });
});
