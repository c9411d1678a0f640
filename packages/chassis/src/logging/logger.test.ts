import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { recordingLogger } from '../../testing/observed.ts';
import { programArgs } from '../../testing/program.ts';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';

const program = new URL('../../testing/logging-process.ts', import.meta.url);

describe('logger', () => {
  it('includes the correlation id of the current request, and none outside of a request', () => {
    const { logger, lines } = recordingLogger();
    runInContext({ correlationId: 'abc', deadline: Deadline.after(1000) }, () => logger.info('inside'));
    logger.info('outside');
    assert.deepEqual(
      lines.map(({ msg, correlation_id }) => [msg, correlation_id]),
      [
        ['inside', 'abc'],
        ['outside', undefined],
      ],
    );
  });

  it('includes service, time and level in every line', () => {
    const { logger, lines } = recordingLogger();
    logger.warn('careful');
    assert.equal(lines[0]?.service, 'test');
    assert.equal(lines[0]?.level, 'warn');
    assert.match(String(lines[0]?.time), /^\d{4}-\d\d-\d\dT.*Z$/);
  });

  it('redacts credentials', () => {
    const { logger, lines } = recordingLogger();
    // The type of the logger rejects these fields in literals.
    const fields: object = {
      authorization: 'Bearer x',
      headers: { cookie: 'x', authorization: 'x' },
      user: { password: 'x' },
    };
    logger.info(fields, 'unusual');
    assert.deepEqual(lines[0]?.authorization, '[Redacted]');
    assert.deepEqual(lines[0]?.headers, { cookie: '[Redacted]', authorization: '[Redacted]' });
    assert.deepEqual(lines[0]?.user, { password: '[Redacted]' });
  });
});

describe('standard output', () => {
  function run(behavior: string) {
    return spawn(process.execPath, [...programArgs(program), behavior], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
  }
  const messages = (output: string) =>
    output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).msg);

  it('has all lines in order when the process exits while lines are buffered', async () => {
    const child = run('exit');
    const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    assert.equal(code, 3);
    assert.deepEqual(
      messages(output),
      Array.from({ length: 2000 }, (_, index) => String(index)),
    );
  });

  it('has the lines before an uncaught error', async () => {
    const child = run('fail');
    const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    assert.deepEqual(messages(output), ['before']);
  });

  it('has a line after a short time while the process runs', { timeout: 10_000 }, async (context) => {
    const child = run('wait');
    context.after(() => child.kill());
    const [output] = await once(child.stdout, 'data');
    assert.deepEqual(messages(String(output)), ['here']);
    assert.equal(child.exitCode, null);
    child.stdin.end();
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });
});
