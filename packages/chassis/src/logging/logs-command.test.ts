import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { problemDetails } from '@zerda/contracts/problems';
import { sendRequest } from '../../testing/http.ts';
import { openHttpServer, type TestServer } from '../../testing/http-server.ts';
import { recordingLogger, testAudit, testMetrics } from '../../testing/observed.ts';
import { signedCallHeaders } from '../auth/signed-call.ts';
import { createManagementApp } from '../http/management-app.ts';
import { createLifecycle } from '../lifecycle/lifecycle.ts';
import { StartupError } from '../startup-error.ts';
import { logLevelCalls, logLevelPath } from './log-level-call.ts';
import { runLogsCommand } from './logs-command.ts';

const MANAGEMENT_SECRET = 'the secret of operators, long enough';
const id = 'a1b2-c3';

describe('logs command', () => {
  const { logger, lines } = recordingLogger();
  let server: TestServer;
  let withoutSecret: TestServer;

  before(async () => {
    const open = (config: { MANAGEMENT_SECRET?: string }) =>
      openHttpServer(
        createManagementApp({
          lifecycle: createLifecycle({ logger }),
          metrics: testMetrics(),
          logger,
          calls: new Map(logLevelCalls({ config, logger, audit: testAudit(logger) })),
        }),
      );
    server = await open({ MANAGEMENT_SECRET });
    withoutSecret = await open({});
  });
  after(async () => {
    await run('level', 'reset');
    await server.stop();
    await withoutSecret.stop();
  });

  const configOf = ({ url }: TestServer) => ({
    MANAGEMENT_PORT: Number(new URL(url).port),
    MANAGEMENT_SECRET,
  });

  async function run(...args: string[]): Promise<string[]> {
    const printed: string[] = [];
    await runLogsCommand({ service: 'test', config: configOf(server) }, args, (line) => printed.push(line));
    return printed.map((line) => line.replaceAll(/\d{4}-[^ ]*Z/g, '(time)'));
  }

  /** Returns the audit lines since the last call. */
  const audited = () =>
    lines
      .splice(0)
      .filter(({ stream }) => stream === 'audit')
      .map(({ action, outcome, reason, actor_type, new_level, seconds, sampled_id }) =>
        Object.values({ action, outcome, reason, actor_type, new_level, seconds, sampled_id })
          .filter((value) => value !== undefined)
          .join(' '),
      );

  it('prints, sets and restores the level, and writes an audit line for each change', async () => {
    assert.deepEqual(await run('level'), ['test: debug']);
    assert.deepEqual(await run('level', 'warn', '--for', '2m'), ['test: warn until (time), then debug']);
    assert.equal(logger.level, 'warn');
    assert.deepEqual(await run('level', 'debug', '--correlation-id', id), [
      `test: warn until (time), then debug; debug lines of ${id} until (time)`,
    ]);
    assert.deepEqual(await run('level', 'reset'), ['test: debug']);
    assert.deepEqual(audited(), [
      'log-level.set succeeded operator warn 120',
      `log-level.set succeeded operator debug 900 ${id}`,
      'log-level.reset succeeded operator',
    ]);
  });

  it('exits with the usage or one line for invalid arguments', async () => {
    for (const args of [
      [],
      ['levels'],
      ['level', 'debug', 'now'],
      ['level', '--for', '10m'],
      ['level', 'reset', '--for', '10m'],
      ['level', 'debug', '--loud'],
    ])
      await assert.rejects(run(...args), { exitCode: 78, message: /^usage: logs level/ });
    for (const time of ['0s', '5h', '10', 'soon', '-1m'])
      await assert.rejects(run('level', 'debug', `--for=${time}`), {
        exitCode: 78,
        message: /^--for must be .*"\.$/,
      });
    await assert.rejects(run('level', 'silent'), {
      exitCode: 1,
      message: /^test rejected the call: level must be one of trace, debug/,
    });
    await assert.rejects(run('level', 'info', '--correlation-id', id), /level must be debug/);
    await assert.rejects(run('level', 'debug', '--correlation-id', 'a b'), /correlation_id must be/);
    assert.equal(logger.level, 'debug');
  });

  it('reports a missing or wrong secret and a process that does not run', async () => {
    const { MANAGEMENT_PORT } = configOf(server);
    const runWith = (config: Parameters<typeof runLogsCommand>[0]['config']) =>
      runLogsCommand({ service: 'test', config }, ['level', 'warn'], () => undefined);
    await assert.rejects(runWith({ MANAGEMENT_PORT }), {
      exitCode: 78,
      message: /^MANAGEMENT_SECRET is not set/,
    });
    const wrong = { MANAGEMENT_PORT, MANAGEMENT_SECRET: 'another secret, which is as long' };
    await assert.rejects(runWith(wrong), /MANAGEMENT_SECRET is not that of the process/);
    await assert.rejects(runWith(configOf(withoutSecret)), /MANAGEMENT_SECRET is not set in the process/);
    await assert.rejects(runWith({ MANAGEMENT_PORT: 1, MANAGEMENT_SECRET }), (error) => {
      assert.ok(error instanceof StartupError);
      assert.match(error.message, /^No process responds at 127\.0\.0\.1:1\./);
      return true;
    });
  });

  it('returns problems for invalid and unsigned calls, and writes audit lines of the denied ones', async () => {
    audited();
    const target = `${logLevelPath}?level=loud&seconds=0&color=red`;
    const headers = signedCallHeaders(target, [MANAGEMENT_SECRET], 'PUT');
    const invalid = await sendRequest(server.url + target, { method: 'PUT', headers });
    assert.equal(invalid.status, 400);
    const { errors = [] } = problemDetails.parse(invalid.body);
    assert.deepEqual(errors.map(({ path }) => path).sort(), ['color', 'level', 'seconds']);
    for (const method of ['PUT', 'DELETE', 'GET'])
      assert.equal((await sendRequest(server.url + target, { method })).status, 401);
    assert.deepEqual(audited(), [
      'log-level.set failed invalid-request operator',
      'log-level.set denied unauthenticated anonymous',
      'log-level.reset denied unauthenticated anonymous',
    ]);
  });
});
