import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { type Collector, startCollector } from '../../packages/chassis/testing/collector.ts';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { describeWithServer } from '../../packages/chassis/testing/server.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { prometheusProgram, startPrometheus, type TestPrometheus } from '../kit/prometheus.ts';
import { type System, startSystem } from '../kit/system.ts';

/** Histograms, and the spans that their exemplars refer to. */
const histograms = {
  http_server_request_duration_seconds: ['zerda.request'],
  // The exemplar of a call that was not made refers to its request.
  http_client_request_duration_seconds: ['zerda.attempt', 'zerda.request'],
  db_client_operation_duration_seconds: ['zerda.request', 'zerda.process'],
  event_handler_duration_seconds: ['zerda.process'],
  event_delivery_duration_seconds: ['zerda.process'],
} as const;

await describeWithServer(prometheusProgram)('metrics in OpenMetrics', () => {
  let collector: Collector;
  let system: System;
  let prometheus: TestPrometheus;

  before(async () => {
    collector = await startCollector();
    system = await startSystem({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_BSP_SCHEDULE_DELAY: '50',
      AUTH: 'off',
    });
    const { gateway, users, orders } = system;
    prometheus = await startPrometheus(
      [gateway, users, orders].map(({ name, managementUrl }) => ({ job: name, managementUrl })),
    );
    await produceData();
  });

  after(async () => {
    await prometheus?.stop();
    await system?.close();
    await collector?.close();
  });

  /** Makes each histogram record a duration: with a user that is deleted, an event has an effect. */
  async function produceData(): Promise<void> {
    const json = { name: 'Dora Grey', email: 'dora@example.com' };
    const { body } = await sendRequest(`${system.gateway.url}/api/users`, { method: 'POST', json });
    await sendRequest(`${system.gateway.url}/api/users/${body.data.id}`, { method: 'DELETE' });
    await sendRequest(`${system.gateway.url}/api/dashboard`);
  }

  for (const [metric, scopes] of Object.entries(histograms))
    it(`${metric} has exemplars of recorded spans in Prometheus`, async () => {
      await eventually(async () => {
        const exemplars = await prometheus.exemplars(`${metric}_bucket`);
        assert.ok(exemplars.length > 0);
        for (const { trace_id, span_id } of exemplars) {
          const span = collector.spans.find(({ spanId }) => spanId === span_id);
          assert.equal(span?.traceId, trace_id);
          assert.ok(
            scopes.some((scope) => scope === span?.scope),
            span?.scope,
          );
        }
      });
    });

  it('are parsed completely by Prometheus, into the series of the plain text', async () => {
    for (const { name, managementUrl } of [system.gateway, system.users, system.orders]) {
      await eventually(async () => {
        const { text } = await sendRequest(`${managementUrl}/metrics`);
        const scraped = await prometheus.series(`{job="${name}",instance!=""}`);
        assert.deepEqual(formatStable(scraped), formatStable(parseText(text)));
        assert.deepEqual(
          (await prometheus.query(`min_over_time(up{job="${name}"}[1m])`)).map(({ value }) => value),
          [1],
        );
      }, `the series of ${name}`);
    }
  });
});

type Labels = Readonly<Record<string, string>>;

/** Returns the labels, with `__name__`, of the samples of a text. */
function parseText(text: string): Labels[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, __name__ = '', labels = ''] = /^(\w+)(?:\{(.*)\})? \S+$/.exec(line) ?? assert.fail(line);
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
      return Object.fromEntries([['__name__', __name__], ...pairs.map(([, name, value]) => [name, value])]);
    });
}

/**
 * Series that exist for a while: of active handles and requests of Node.js and of kinds of garbage collection. The others are those of
 * Prometheus.
 */
const changing = /^(nodejs_active_|nodejs_gc_|scrape_|up$)/;

/** Formats the series without the labels of their target. Prometheus 3 writes the limits of buckets as `1.0`. */
function formatStable(series: readonly Labels[]): string[] {
  return series
    .filter(({ __name__ = '' }) => !changing.test(__name__))
    .map(({ job: _job, instance: _instance, namespace: _namespace, pod: _pod, le, ...labels }) =>
      JSON.stringify([...Object.entries(labels).sort(), ...(le === undefined ? [] : [Number(le)])]),
    )
    .sort();
}
