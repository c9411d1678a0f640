import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { parse } from 'yaml';
import { type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { freePort } from '../../packages/chassis/testing/port.ts';
import { describeIf } from '../../packages/chassis/testing/server.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { root } from '../../scripts/lib/services.ts';
import { findMissingProgram, type Observability, startObservability } from '../kit/observability.ts';
import { prepareSystem, type Service, type System } from '../kit/system.ts';
import { rules } from '../monitoring/lib/expressions.ts';

const missing = await findMissingProgram();
const program = missing ?? { title: 'all programs', required: '' };

describeIf(missing === undefined, program, 'configuration of npm run observe', () => {
  let system: System;
  let observability: Observability;
  let order: HttpResponse;
  let traceId: string;

  before(async () => {
    const otlpPort = await freePort();
    system = await prepareSystem({
      AUTH: 'off',
      LOG_LEVEL: 'info',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${otlpPort}`,
      OTEL_BSP_SCHEDULE_DELAY: '50',
    });
    const services = [system.gateway, system.users, system.orders];
    observability = await startObservability({ otlpPort, services });
    await Promise.all(services.map((service) => service.start()));
    const json = { user_id: 1, product: 'Desk', quantity: 1, total: 10 };
    order = await sendRequest(`${system.gateway.url}/api/orders`, { method: 'POST', json });
    assert.equal(order.status, 201, order.text);
    traceId = order.headers.traceresponse?.split('-')[1] ?? '';
    await eventually(() => services.every(hasLogged), 'the log lines of the request');
    for (const { name, output } of services) await observability.writeContainerLog(name, output);
    await observability.writeContainerLog('another-container', [
      `{"msg":"secret","trace_id":"${traceId}"}`,
      `{"level":30,"time":1764500000000,"service":"another","msg":"secret","trace_id":"${traceId}"}`,
    ]);
  });

  after(async () => {
    await system?.close();
    await observability?.close();
  });

  /** Whether a service has logged the request; user-service takes no part in it. */
  const hasLogged = ({ name, output }: Service): boolean =>
    name === 'user-service' || output.some((line) => line.includes(traceId) && line.includes('"request"'));

  /** Returns the result of a LogsQL query. */
  async function queryLogs(query: string): Promise<Record<string, string>[]> {
    const { text } = await sendRequest(
      `${observability.victoriaLogsUrl}/select/logsql/query?query=${encodeURIComponent(query)}`,
    );
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }

  it('scrapes all services and evaluates the rules of the chart', async () => {
    const read = async (path: string) =>
      (await sendRequest(`${observability.prometheusUrl}/api/v1/${path}`)).body.data;
    await eventually(async () => {
      const { activeTargets } = await read('targets');
      assert.deepEqual(
        activeTargets
          .map(({ labels, health }: { labels: Record<string, string>; health: string }) => [
            labels.namespace,
            labels.job,
            health,
          ])
          .sort(),
        ['gateway', 'order-service', 'user-service'].map((name) => ['zerda', name, 'up']),
      );
    });
    const { groups } = await read('rules');
    assert.equal(groups.flatMap((group: { rules: unknown[] }) => group.rules).length, rules.length);
  });

  it('leads from an exemplar to the trace and to the log lines of all services', async () => {
    const end = Date.now() / 1000 + 60;
    const query = 'http_server_request_duration_seconds_bucket{job="gateway",http_request_method="POST"}';
    await eventually(async () => {
      const { body } = await sendRequest(
        `${observability.prometheusUrl}/api/v1/query_exemplars?query=${encodeURIComponent(query)}&start=${end - 600}&end=${end}`,
      );
      const labels = body.data.flatMap((series: { exemplars: { labels: object }[] }) =>
        series.exemplars.map((exemplar) => exemplar.labels),
      );
      assert.deepEqual(labels, [{ trace_id: traceId, span_id: order.headers.traceresponse?.split('-')[2] }]);
    }, 'the exemplar of the request');
    await eventually(async () => {
      const { status, body, text } = await sendRequest(`${observability.jaegerUrl}/api/traces/${traceId}`);
      assert.equal(status, 200, text);
      const processes = Object.values(body.data[0].processes as Record<string, { serviceName: string }>);
      assert.deepEqual([...new Set(processes.map(({ serviceName }) => serviceName))].sort(), [
        'gateway',
        'order-service',
      ]);
    }, 'the trace of the exemplar');
    for (const logsQuery of await logQueriesOfGrafana(traceId)) {
      const lines = await eventually(async () => {
        const found = await queryLogs(logsQuery);
        assert.ok(new Set(found.map(({ service }) => service)).size === 2, JSON.stringify(found));
        return found;
      }, `log lines of ${logsQuery}`);
      assert.ok(lines.some(({ service, _msg }) => service === 'gateway' && _msg === 'request'));
    }
  });

  it('stores the lines of the services only, with their fields and time', async () => {
    const line = await eventually(async () => {
      const [found] = await queryLogs(`trace_id:=${traceId} service:=gateway _msg:=request`);
      return found ?? false;
    }, 'the log line of the request');
    const written = system.gateway.output
      .map((text) => JSON.parse(text))
      .find((fields) => fields.trace_id === traceId && fields.msg === 'request');
    assert.equal(line.correlation_id, order.headers['x-correlation-id']);
    assert.equal(line.status, '201');
    assert.equal(Date.parse(line._time ?? ''), Date.parse(written.time));
    assert.equal(line._stream, '{service="gateway"}');
    // Written after the lines of the services.
    assert.deepEqual(await queryLogs('secret'), []);
  });
});

/** Returns the queries of the links to log lines in Grafana's data sources, for a trace. */
async function logQueriesOfGrafana(traceId: string): Promise<string[]> {
  const text = await readFile(join(root, 'observability/grafana/datasources/datasources.yaml'), 'utf8');
  const { datasources } = parse(text);
  const settingsOf = (type: string) =>
    datasources.find((source: { type: string }) => source.type === type).jsonData;
  const [, link] = settingsOf('prometheus').exemplarTraceIdDestinations;
  const { a } = JSON.parse(new URLSearchParams(link.url).get('panes') ?? '');
  return [a.queries[0].expr, settingsOf('jaeger').tracesToLogsV2.query].map((query: string) =>
    query.replace('$${__value.raw}', traceId).replace('$${__trace.traceId}', traceId),
  );
}
