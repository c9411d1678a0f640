import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AxiosError, AxiosHeaders } from 'axios';
import { DrizzleQueryError } from 'drizzle-orm';
import { recordingLogger } from '../../testing/observed.ts';
import type { DescribedError } from './describe-error.ts';

const secret = 'unmistakable-5512';

describe('describeError', () => {
  it('returns type, message, code, stack and cause', () => {
    const { logger, lines } = recordingLogger();
    const inner = Object.assign(new RangeError('too far'), { code: 'E_FAR' });
    logger.error({ err: new AggregateError([inner], 'several', { cause: inner }) }, 'fault');
    const [line] = lines;
    assert.ok(line);
    const { type, message, stack, cause, errors } = line.err as Required<DescribedError>;
    assert.deepEqual([type, message], ['AggregateError', 'several']);
    assert.match(stack, /^AggregateError: several\n +at .*describe-error\.test/);
    assert.deepEqual([cause.type, cause.message, cause.code], ['RangeError', 'too far', 'E_FAR']);
    assert.equal(errors[0]?.message, 'too far');
  });

  it('omits request headers, request bodies and statement parameters', () => {
    const { logger, lines } = recordingLogger();
    const headers = new AxiosHeaders({ authorization: `Bearer ${secret}` });
    logger.warn(
      { err: new AxiosError('Request failed', 'ERR_BAD_RESPONSE', { headers, data: secret }) },
      'failed',
    );
    const query = new DrizzleQueryError(
      'insert into credentials values ($1)',
      [secret],
      new Error('is unavailable'),
    );
    logger.error({ err: new Error('outer', { cause: query }) }, 'failed');
    logger.error({ err: query }, 'failed');
    logger.error({ err: { password: secret } }, 'failed');
    const text = JSON.stringify(lines);
    assert.ok(!text.includes(secret), text);
    assert.ok(text.includes('insert into credentials values ($1)') && text.includes('is unavailable'));
  });

  it('limits the depth of circular causes', () => {
    const { logger, lines } = recordingLogger();
    const error = new Error('circular');
    error.cause = error;
    logger.error({ err: error }, 'failed');
    assert.equal(JSON.stringify(lines).match(/"message":"circular"/g)?.length, 6);
  });
});
