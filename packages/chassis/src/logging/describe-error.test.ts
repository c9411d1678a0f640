import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AxiosError, AxiosHeaders } from 'axios';
import { DrizzleQueryError } from 'drizzle-orm';
import { recordingLogger } from '../testing.ts';
import type { DescribedError } from './describe-error.ts';

const secret = 'unmistakable-5512';

describe('an error in the log', () => {
  it('tells its kind, message, code, place and cause', () => {
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

  it('tells nothing of the request or the values that it was made with', () => {
    const { logger, lines } = recordingLogger();
    const headers = new AxiosHeaders({ authorization: `Bearer ${secret}` });
    logger.warn(
      { err: new AxiosError('Request failed', 'ERR_BAD_RESPONSE', { headers, data: secret }) },
      'failed',
    );
    const query = new DrizzleQueryError(
      'insert into credentials values ($1)',
      [secret],
      new Error('is away'),
    );
    logger.error({ err: new Error('outer', { cause: query }) }, 'failed');
    logger.error({ err: query }, 'failed');
    logger.error({ err: { password: secret } }, 'failed');
    const text = JSON.stringify(lines);
    assert.ok(!text.includes(secret), text);
    assert.ok(text.includes('insert into credentials values ($1)') && text.includes('is away'));
  });

  it('that goes in a circle is told to some depth', () => {
    const { logger, lines } = recordingLogger();
    const error = new Error('round');
    error.cause = error;
    logger.error({ err: error });
    assert.equal(JSON.stringify(lines).match(/"message":"round"/g)?.length, 6);
  });
});
