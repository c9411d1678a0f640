import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Counter } from 'prom-client';
import { testMetrics } from '../../testing/observed.ts';
import { recordingTracer } from '../../testing/tracer.ts';
import { preferredFormat } from './metrics-format.ts';

const openMetrics = 'application/openmetrics-text';

describe('preferred format of metrics', () => {
  for (const accept of [
    openMetrics,
    `${openMetrics};version=1.0.0`,
    `${openMetrics}; version="1.0.0"; charset=utf-8`,
    'Application/OpenMetrics-Text; Version=1.0.0',
    `text/plain;q=0.5, ${openMetrics};q=0.6`,
    // Prometheus 2 and 3.
    `${openMetrics};version=1.0.0,${openMetrics};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1`,
    `${openMetrics};version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.2`,
    `${openMetrics};q=0.2, */*;q=0.1`,
  ])
    it(`is OpenMetrics for ${accept}`, () => assert.equal(preferredFormat(accept), 'openmetrics'));

  for (const accept of [
    undefined,
    '',
    '*/*',
    'application/*',
    'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
    'text/plain;version=0.0.4',
    `text/plain, ${openMetrics}`,
    `${openMetrics};q=0.5, text/plain;q=0.6`,
    `${openMetrics};q=0.5, */*`,
    `${openMetrics};q=0.5, text/*;q=0.5`,
    `${openMetrics};q=0`,
    `${openMetrics};q=high`,
    `${openMetrics};version=0.0.1`,
    `${openMetrics};version=2.0.0`,
    'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited',
    ';;,,=;q=1',
  ])
    it(`is plain text for ${accept}`, () => assert.equal(preferredFormat(accept), 'text'));
});

describe('metrics in OpenMetrics', () => {
  it('have the last recorded trace of a bucket as exemplar, which plain text lacks', async () => {
    const metrics = testMetrics();
    const { tracer } = recordingTracer();
    const startSpan = () => tracer.start('request', { name: 'GET' });
    const [first, last] = [startSpan(), startSpan()];
    metrics.databaseOperation('query', 'succeeded', 0.002, first);
    metrics.databaseOperation('query', 'succeeded', 0.0021, last);
    metrics.databaseOperation('query', 'succeeded', 0.0022);
    metrics.databaseOperation('query', 'succeeded', 0.02);
    const [, traceId, spanId] = last?.traceparent.split('-') ?? [];
    const { body, contentType } = await metrics.render('openmetrics');
    assert.equal(contentType, 'application/openmetrics-text; version=1.0.0; charset=utf-8');
    assert.deepEqual(
      body
        .split('\n')
        .filter((line) => line.includes(' # {'))
        .map((line) => line.replace(/ [\d.]+$/, '')),
      [
        `db_client_operation_duration_seconds_bucket{le="0.0025",operation="query",outcome="succeeded"} 3 # {trace_id="${traceId}",span_id="${spanId}"} 0.0021`,
      ],
    );
    assert.doesNotMatch((await metrics.render()).body, / # \{/);
  });

  it('have the same series as plain text, and leave it unchanged', async () => {
    const metrics = testMetrics();
    metrics.circuitState('orders', 1);
    metrics.upstreamCall('orders', 'answered', 0.02);
    metrics.requestStarted();
    metrics.requestEnded({ method: 'GET', route: '/', status: 200 }, 0.02);
    new Counter({ name: 'labelless_total', help: 'A counter.', registers: [metrics.registry] }).inc();
    const before = (await metrics.render()).body;
    const { body } = await metrics.render('openmetrics');
    const after = (await metrics.render()).body;
    assert.deepEqual(seriesOf(body), seriesOf(before));
    assert.deepEqual(describedIn(after), describedIn(before));
    assert.match(body, /^# TYPE labelless counter\nlabelless_total 1$/m);
    assert.match(body, /\n# EOF\n$/);
    assert.doesNotMatch(body, /\n\n/);
  });
});

/** Returns the names and labels of the samples, except those of handles and collections of Node.js that exist for a while. */
function seriesOf(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !/^(#|nodejs_active_|nodejs_gc_)/.test(line))
    .map((line) => line.replace(/ # .*/, '').replace(/ \S+$/, ''));
}

/** Returns the names and descriptions of the metrics. */
function describedIn(text: string): string[] {
  return text.split('\n').filter((line) => line.startsWith('#'));
}
