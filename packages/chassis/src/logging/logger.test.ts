import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { recordingLogger } from '../testing.ts';

describe('logger', () => {
  it('writes the correlation id of the request in hand, and none outside of one', () => {
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

  it('names service, time and level on every line', () => {
    const { logger, lines } = recordingLogger();
    logger.warn('careful');
    assert.equal(lines[0]?.service, 'test');
    assert.equal(lines[0]?.level, 'warn');
    assert.match(String(lines[0]?.time), /^\d{4}-\d\d-\d\dT.*Z$/);
  });

  it('never writes credentials, even when handed some', () => {
    const { logger, lines } = recordingLogger();
    logger.info({
      authorization: 'Bearer x',
      headers: { cookie: 'x', authorization: 'x' },
      user: { password: 'x' },
    });
    assert.deepEqual(lines[0]?.authorization, '[Redacted]');
    assert.deepEqual(lines[0]?.headers, { cookie: '[Redacted]', authorization: '[Redacted]' });
    assert.deepEqual(lines[0]?.user, { password: '[Redacted]' });
  });
});
