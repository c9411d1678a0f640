import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { z } from 'zod';
import { type Collector, startCollector } from '../../testing/collector.ts';
import { recordingLogger, testMetrics } from '../../testing/observed.ts';
import { freePort } from '../../testing/port.ts';

import { eventually } from '../../testing/wait.ts';
import { loadConfig } from '../config/load-config.ts';
import { Failure } from '../failure.ts';
import { createLifecycle } from '../lifecycle/lifecycle.ts';
import { openTracing } from './open-tracing.ts';
import type { Tracer } from './span.ts';
import { tracingVariables } from './tracing-variables.ts';

const remote = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

describe('tracing', () => {
  let collector: Collector;
  beforeEach(async () => {
    collector = await startCollector();
  });
  afterEach(() => collector.close());

  async function open(environment: Record<string, string> = {}) {
    const { logger, lines } = recordingLogger();
    const lifecycle = createLifecycle({ logger });
    const metrics = testMetrics();
    const config = loadConfig(z.object(tracingVariables()), {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_BSP_SCHEDULE_DELAY: '10',
      ...environment,
    });
    const tracer = await openTracing({
      service: 'test',
      version: '1.2.3',
      config,
      logger,
      lifecycle,
      metrics,
    });
    assert.ok(tracer !== undefined);
    const value = async (name: string) =>
      Number(
        new RegExp(`^${name.replaceAll(/[{}]/g, '\\$&')} (\\d+)$`, 'm').exec(
          (await metrics.render()).body,
        )?.[1],
      );
    return { tracer, lifecycle, lines, value };
  }

  function record(tracer: Tracer, count: number): void {
    for (let index = 0; index < count; index += 1)
      tracer.start('transaction', { name: 'transaction' })?.end();
  }

  it('exports spans with their parents, links, events and attributes, and the resource', async () => {
    const { tracer, lifecycle, value } = await open({
      OTEL_RESOURCE_ATTRIBUTES: 'k8s.pod.name=test-0,deployment.environment.name=a%20b',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20secret',
    });
    const span = tracer.start('process', { name: 'process x', parent: remote, links: [remote] });
    const child = span?.startChild('statement', {
      name: 'SELECT users',
      attributes: { 'db.operation.name': 'SELECT' },
    });
    child?.fail(new Failure('not-found', { detail: 'secret value' }));
    child?.end();
    span?.addEvent('dead-lettered');
    span?.set({ 'zerda.event.delivery': 2, 'messaging.message.id': undefined });
    span?.setName('process zerda.user.deleted.v1');
    span?.end();
    await lifecycle.shutdown();

    const [statement, process] = [...collector.spans].sort((a, b) => (a.scope < b.scope ? 1 : -1));
    assert.deepEqual(process, {
      service: 'test',
      scope: 'zerda.process',
      traceId: remote.slice(3, 35),
      spanId: span?.traceparent.slice(36, 52),
      parentSpanId: remote.slice(36, 52),
      name: 'process zerda.user.deleted.v1',
      kind: 'consumer',
      attributes: { 'zerda.event.delivery': 2 },
      events: [{ name: 'dead-lettered', attributes: {} }],
      links: [{ traceId: remote.slice(3, 35), spanId: remote.slice(36, 52) }],
      failed: false,
    });
    assert.deepEqual(
      [
        statement?.traceId,
        statement?.parentSpanId,
        statement?.kind,
        statement?.failed,
        statement?.attributes,
      ],
      [
        process?.traceId,
        process?.spanId,
        'client',
        true,
        { 'db.operation.name': 'SELECT', 'error.type': 'not-found' },
      ],
    );
    assert.doesNotMatch(String(collector.exports[0]?.body), /secret value/);
    assert.deepEqual(collector.resource, {
      'k8s.pod.name': 'test-0',
      'deployment.environment.name': 'a b',
      'service.name': 'test',
      'service.version': '1.2.3',
    });
    assert.equal(collector.exports[0]?.path, '/v1/traces');
    assert.equal(collector.exports[0]?.headers.authorization, 'Bearer secret');
    assert.equal(await value('trace_spans_exported_total'), 2);
    assert.equal(await value('trace_spans_dropped_total{reason="queue_full"}'), 0);
  });

  it('exports protobuf by default', async () => {
    const { tracer } = await open({ OTEL_EXPORTER_OTLP_PROTOCOL: '' });
    record(tracer, 1);
    const [received] = await eventually(() => collector.exports.length > 0 && collector.exports);
    assert.equal(received?.headers['content-type'], 'application/x-protobuf');
    assert.ok(received?.body.includes('zerda.transaction'));
  });

  it('exports a full batch at once, and the next one after its response', async () => {
    const { tracer, value } = await open({ OTEL_BSP_SCHEDULE_DELAY: '60000' });
    record(tracer, 1500);
    await eventually(async () => (await value('trace_spans_exported_total')) === 1024);
    assert.equal(collector.spans.length, 1024);
    assert.equal(collector.exports.length, 2);
  });

  it('bounds the attributes, events and links of a span, and exports it once', async () => {
    const { tracer, lifecycle } = await open();
    const span = tracer.start('request', { name: 'GET', attributes: { 'url.path': 'x'.repeat(2000) } });
    const ids = Array.from({ length: 66 }, (_, index) =>
      remote.replace('4bf92f35', String(10_000_000 + index)),
    );
    for (const id of ids) {
      span?.addLink(id);
      span?.addEvent('circuit open', { 'zerda.upstream': id });
    }
    span?.end();
    span?.end();
    await lifecycle.shutdown();
    const [received, ...more] = collector.spans;
    assert.deepEqual(more, []);
    assert.equal(received?.attributes['url.path'], 'x'.repeat(1024));
    const last = ids.slice(-64);
    assert.deepEqual(
      received?.links.map(({ traceId }) => traceId),
      last.map((id) => id.slice(3, 35)),
    );
    assert.deepEqual(
      received?.events.map((event) => event.attributes['zerda.upstream']),
      last,
    );
    const [dropped] = JSON.parse(String(collector.exports[0]?.body)).resourceSpans[0].scopeSpans[0].spans;
    assert.equal(dropped.droppedLinksCount, 2);
    assert.equal(dropped.droppedEventsCount, 2);
  });

  it('records the time of spans in nanoseconds since the epoch', async () => {
    const { tracer, lifecycle } = await open();
    const before = Date.now();
    const span = tracer.start('request', { name: 'GET' });
    const child = span?.startChild('attempt', { name: 'GET' });
    child?.end();
    span?.end();
    await lifecycle.shutdown();
    const { scopeSpans } = JSON.parse(String(collector.exports[0]?.body)).resourceSpans[0];
    const [inner, outer] = scopeSpans.map(({ spans: [only] }: { spans: [Record<string, string>] }) => [
      BigInt(only.startTimeUnixNano ?? 0),
      BigInt(only.endTimeUnixNano ?? 0),
    ]);
    const times = [outer[0], inner[0], inner[1], outer[1]];
    assert.deepEqual(
      times,
      times.toSorted((a, b) => (a < b ? -1 : 1)),
    );
    assert.ok(outer[1] > outer[0]);
    const toleranceMs = 3;
    assert.ok(Number(outer[0] / 1_000_000n) >= before - toleranceMs);
    assert.ok(Number(outer[1] / 1_000_000n) <= Date.now() + toleranceMs);
  });

  it('uses OTEL_SERVICE_NAME', async () => {
    const { tracer, lifecycle } = await open({ OTEL_SERVICE_NAME: 'renamed' });
    record(tracer, 1);
    await lifecycle.shutdown();
    assert.equal(collector.spans[0]?.service, 'renamed');
  });

  it('records nothing for traces that are not sampled', async () => {
    const { tracer } = await open({ OTEL_TRACES_SAMPLER: 'parentbased_always_off' });
    assert.equal(tracer.start('request', { name: 'GET' }), undefined);
    assert.ok(tracer.start('request', { name: 'GET', parent: remote }));
    assert.equal(tracer.start('request', { name: 'GET', parent: remote.replace(/01$/, '00') }), undefined);
  });

  it('drops and counts spans above the queue limit while the collector does not respond', async () => {
    collector.respond(0);
    const { tracer, value } = await open({
      OTEL_BSP_MAX_QUEUE_SIZE: '100',
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
    });
    // The first batch is in flight, the second one fills the queue.
    record(tracer, 250);
    assert.equal(await value('trace_spans_dropped_total{reason="queue_full"}'), 50);
    assert.equal(await value('trace_spans_exported_total'), 0);
  });

  it('counts spans whose export fails and logs one warning', async () => {
    collector.respond(400);
    const { tracer, value, lines } = await open();
    for (const expected of [3, 6]) {
      record(tracer, 3);
      await eventually(
        async () => (await value('trace_spans_dropped_total{reason="export_failed"}')) === expected,
      );
    }
    assert.equal(lines.filter(({ msg }) => msg === 'span export failed').length, 1);
    assert.equal(collector.spans.length, 0);
  });

  it('delays shutdown by at most a second if the collector does not respond or is unreachable', async () => {
    collector.respond(0);
    for (const endpoint of [collector.url, `http://127.0.0.1:${await freePort()}`]) {
      const { tracer, lifecycle, lines } = await open({
        OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
        OTEL_EXPORTER_OTLP_TIMEOUT: '3000',
      });
      record(tracer, 10);
      const startedAt = performance.now();
      await lifecycle.shutdown();
      const ms = performance.now() - startedAt;
      assert.ok(ms < 1500, `${ms} ms`);
      assert.equal(lines.find(({ msg }) => msg === 'spans not exported at shutdown')?.spans, 10);
    }
  });
});
