import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { describeIf, findServer, type ServerProcess } from '../../packages/chassis/testing/server.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { findHistory } from '../../scripts/trace/find-history.ts';
import { formatHistory } from '../../scripts/trace/format-history.ts';
import { createJaeger } from '../../scripts/trace/jaeger.ts';
import { createLocalLogs, createLocalTraces } from '../../scripts/trace/local-files.ts';
import type { LogStore, TraceStore } from '../../scripts/trace/model.ts';
import { createVictoriaLogs } from '../../scripts/trace/victoria-logs.ts';
import { type CommandResult, runScript, startScript } from '../kit/command.ts';
import { type Jaeger, jaeger, startJaeger } from '../kit/jaeger.ts';
import { type OtelCollector, otelCollector, startOtelCollector } from '../kit/otel-collector.ts';
import { prepareSystem, type Service, type System, startSystem } from '../kit/system.ts';
import { startVictoriaLogs, victoriaLogs } from '../kit/victoria-logs.ts';

function trace(id: string, env: NodeJS.ProcessEnv): Promise<CommandResult> {
  return runScript('trace', { LOGS_URL: '', TRACES_URL: '', ...env }, [id]);
}

/** Creates a user, which both services process: one as a request, the other as an event. */
async function createUser(system: System, correlationId: string): Promise<HttpResponse> {
  const response = await sendRequest(`${system.gateway.url}/api/users`, {
    method: 'POST',
    headers: { 'x-correlation-id': correlationId },
    json: { name: 'Grace Hopper', email: `${correlationId}@example.com` },
  });
  assert.equal(response.status, 201, response.text);
  return response;
}

/** Asserts that a text contains the lines of the request and both of its traces as trees. */
function assertHistory(text: string): void {
  const lines = text.split('\n');
  const requests = lines.filter((line) => line.includes('  request  '));
  for (const service of ['gateway', 'user-service'])
    assert.ok(
      requests.some((line) => line.includes(`Z  ${service} `) && line.includes('  status=201')),
      text,
    );
  const times = requests.map((line) => line.slice(0, 24));
  assert.deepEqual(times, times.toSorted());
  const request = lines.findIndex((line) => /^gateway +POST \/api\/users +[\d.]+ ms$/.test(line));
  assert.match(lines[request - 1] ?? '', /^trace [0-9a-f]{32}: \d+ spans$/);
  assert.match(lines[request + 1] ?? '', /^gateway {9}POST \/api\/users +[\d.]+ ms$/);
  assert.match(lines[request + 2] ?? '', /^user-service {6}POST \/api\/users +[\d.]+ ms$/);
  const delivery = lines.findIndex((line) => line.includes('  process zerda.user.created.v1'));
  assert.match(lines[delivery - 1] ?? '', /^user-service +send zerda\.user\.created\.v1 /);
  assert.match(lines[delivery] ?? '', / ms {2}link="append zerda\.user\.created\.v1"$/);
}

interface Stores {
  readonly logs: LogStore;
  readonly traces: TraceStore;
}

async function formatFound(id: string, stores: Stores): Promise<string> {
  return formatHistory(await findHistory(id, stores));
}

/** Waits until the stores have everything of a request, and asserts that the command prints it for either id. */
async function assertFound(response: HttpResponse, stores: Stores, env: NodeJS.ProcessEnv): Promise<void> {
  const { 'x-correlation-id': correlationId = '', traceresponse = '' } = response.headers;
  await eventually(
    async () => assertHistory(await formatFound(correlationId, stores)),
    'the history of a request',
    60_000,
  );
  const expected = await formatFound(correlationId, stores);
  assert.equal(await formatFound(traceresponse.split('-')[1] ?? '', stores), expected);
  for (const id of [correlationId, traceresponse])
    assert.deepEqual(await trace(id, env), { code: 0, stdout: expected, stderr: '' });
}

const programs = [jaeger, otelCollector, victoriaLogs];
const installed = await Promise.all(programs.map(findServer));
const missing = programs.find((_, index) => installed[index] === undefined);

describeIf(missing === undefined, missing ?? jaeger, 'npm run trace on stores', () => {
  let traces: Jaeger;
  let logs: ServerProcess;
  let collector: OtelCollector;
  let system: System;
  let env: NodeJS.ProcessEnv;
  let stores: Stores;

  before(async () => {
    [traces, logs] = await Promise.all([startJaeger(), startVictoriaLogs()]);
    collector = await startOtelCollector({ logsUrl: logs.url, tracesUrl: traces.otlpUrl });
    env = { LOGS_URL: logs.url, TRACES_URL: traces.queryUrl };
    stores = { logs: createVictoriaLogs(logs.url), traces: createJaeger(traces.queryUrl) };
    system = await startSystem({ LOG_LEVEL: 'info', OTEL_EXPORTER_OTLP_ENDPOINT: collector.otlpUrl });
  });
  after(async () => {
    await system?.close();
    await collector?.close();
    await Promise.all([traces?.close(), logs?.stop()]);
  });

  /** Adds the output of the services to the logs of their pods. */
  async function writePodLogs(): Promise<void> {
    const services: readonly Service[] = [system.gateway, system.users, system.orders];
    for (const { name, output } of services) await collector.writePodLog(name, output);
  }

  it('prints the lines of all services in order and the traces as trees, for any id of the request', async () => {
    const response = await createUser(system, 'request-of-stores');
    await eventually(async () => {
      for (const { output } of [system.gateway, system.users])
        assert.ok(output.some((line) => line.includes('request-of-stores')));
    });
    await writePodLogs();
    await assertFound(response, stores, env);
  });

  it('prints the lines of a request without its trace, and says that there is none', async () => {
    const id = 'without-a-trace';
    const line = { level: 'info', time: new Date().toISOString(), service: 'gateway', msg: 'request' };
    await collector.writePodLog('gateway', [JSON.stringify({ ...line, correlation_id: id })]);
    await eventually(async () => assert.equal((await stores.logs.find([id])).length, 1));
    const { code, stdout, stderr } = await trace(id, env);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^\S+Z {2}gateway {2}info {3}request\b/);
    assert.match(stderr, /^\nNo spans were found in Jaeger at http/);
  });

  it('prints no control characters of log lines', async () => {
    const id = 'with-controls';
    const line = { level: 'warn', time: new Date().toISOString(), service: 'gateway', msg: 'failed' };
    const reason = 'red \u001b[31m and \u202e right to left \r\n';
    await collector.writePodLog('gateway', [JSON.stringify({ ...line, correlation_id: id, reason })]);
    await eventually(async () => assert.equal((await stores.logs.find([id])).length, 1));
    const { stdout } = await trace(id, env);
    assert.ok(stdout.includes('red \\u001b[31m and \\u202e right to left'), JSON.stringify(stdout));
    assert.doesNotMatch(stdout, /[^\P{C}\n]/u);
  });

  it('exits with code 1 and one line if no line and no span has the id', async () => {
    const { code, stdout, stderr } = await trace('0123456789abcdef0123456789abcdef', env);
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /^No line and no span has the id 0123456789abcdef[^\n]*Check the id[^\n]*\n$/);
  });

  it('exits with code 1 and names the variable if a store does not respond or is another server', async () => {
    await traces.close();
    const closed = await trace('request-of-stores', env);
    assert.equal(closed.code, 1);
    assert.match(closed.stderr, /^TRACES_URL: [^\n]* did not respond \(ECONNREFUSED\)[^\n]*\n$/);
    const other = await trace('request-of-stores', { ...env, LOGS_URL: system.gateway.url });
    assert.equal(other.code, 1);
    assert.match(other.stderr, /^(TRACES_URL|LOGS_URL: [^\n]* responded with status 404)[^\n]*\n$/);
  });
});

describe('npm run trace', { skip: process.platform === 'win32' }, () => {
  let system: System;
  before(async () => {
    system = await prepareSystem();
  });
  after(() => system.close());

  it('finds the lines and spans of npm start, also after its end, until npm run reset', async () => {
    const started = startScript('start', {
      ...system.variables,
      ZERDA_TRACES: 'true',
      OTEL_BSP_SCHEDULE_DELAY: '50',
    });
    const stores = {
      logs: createLocalLogs(system.dataDir),
      traces: createLocalTraces(system.dataDir),
    };
    let response: HttpResponse;
    try {
      await started.line(/^zerda is ready in /);
      response = await createUser(system, 'request-of-start');
      await assertFound(response, stores, system.variables);
    } finally {
      started.kill('SIGTERM');
    }
    assert.equal(await started.exited, 0);
    await assertFound(response, stores, system.variables);
    assert.deepEqual((await readdir(join(system.dataDir, 'logs'))).sort(), ['lines.jsonl', 'spans.jsonl']);

    assert.equal((await runScript('reset', system.variables)).code, 0);
    const { code, stderr } = await trace('request-of-start', system.variables);
    assert.equal(code, 1);
    assert.match(stderr, /^[^\n]*lines\.jsonl does not exist\. Run npm start[^\n]*\n$/);
  });

  it('exits with code 78 if the URL of a store is invalid, and with code 1 and its usage without an id', async () => {
    const invalid = await trace('an-id', { LOGS_URL: 'localhost:9428' });
    assert.equal(invalid.code, 78);
    assert.match(invalid.stderr, /LOGS_URL must be an http:\/\/ or https:\/\/ URL/);
    const unusable = await trace('an id; with more', {});
    assert.equal(unusable.code, 1);
    assert.match(unusable.stderr, /^Usage: npm run trace -- <id>/);
  });
});
