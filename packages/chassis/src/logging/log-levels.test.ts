import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, mock } from 'node:test';
import { testAudit } from '../../testing/observed.ts';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { createLogLevels } from './log-levels.ts';
import { createLogger } from './logger.ts';

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

describe('log levels', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setTimeout', 'Date'] }));
  afterEach(() => mock.timers.reset());

  /** Creates a logger with a child and its control. `write` returns the messages that one line of each level and logger writes. */
  function create(level = 'info') {
    const lines: { msg: string; stream?: string }[] = [];
    const logger = createLogger({
      service: 'test',
      level,
      destination: { write: (line: string) => void lines.push(JSON.parse(line)) },
    });
    const audit = testAudit(logger);
    const child = logger.child({}, { redact: [] });
    const levels = createLogLevels(logger);
    function write(): string[] {
      for (const [name, each] of Object.entries({ own: logger, child })) {
        each.debug(`${name} debug`);
        each.info(`${name} info`);
        each.warn(`${name} warn`);
      }
      return lines.splice(0).map(({ msg }) => msg);
    }
    return { logger, audit, levels, lines, write };
  }

  const request = (correlationId: string) => ({ correlationId, traceparent, deadline: Deadline.after(1000) });
  const all = ['own debug', 'own info', 'own warn', 'child debug', 'child info', 'child warn'];
  const fromInfo = all.filter((line) => !line.endsWith('debug'));
  const fromWarn = all.filter((line) => line.endsWith('warn'));

  it('sets the level, also of children, until its time ends', () => {
    const { levels, lines, write } = create();
    assert.deepEqual(write(), fromInfo);
    levels.set('debug', 60_000);
    assert.deepEqual(write(), all);
    assert.deepEqual(levels.state(), {
      configured: 'info',
      level: 'debug',
      until: new Date(Date.now() + 60_000),
      sampled: undefined,
    });
    mock.timers.tick(59_999);
    assert.deepEqual(write(), all);
    mock.timers.tick(1);
    assert.deepEqual(
      lines.splice(0).map(({ msg }) => msg),
      ['log level restored'],
    );
    assert.deepEqual(write(), fromInfo);
    assert.equal(levels.state().until, undefined);
  });

  it('measures the time from the latest change', () => {
    const { levels, write } = create();
    levels.set('debug', 1000);
    levels.set('warn', 5000);
    mock.timers.tick(1000);
    assert.deepEqual(write(), fromWarn);
    levels.reset();
    assert.deepEqual(write(), fromInfo);
  });

  it('writes lines from debug for a sampled request only, by correlation id or trace id, until its time ends', () => {
    for (const id of ['chosen', '0af7651916cd43dd8448eb211c80319c']) {
      const { logger, levels, lines, write } = create('warn');
      levels.sample(id, 1000);
      assert.deepEqual(write(), fromWarn);
      assert.deepEqual(runInContext(request('chosen'), write), all);
      const other = { ...request('other'), traceparent: undefined };
      assert.deepEqual(runInContext(other, write), fromWarn);
      // The fast path of the gateway has no current context.
      logger.debug({ correlation_id: 'chosen', trace_id: '0af7651916cd43dd8448eb211c80319c' }, 'explicit');
      logger.debug({ correlation_id: 'other' }, 'explicit');
      assert.equal(lines.splice(0).length, 1);
      mock.timers.tick(1000);
      assert.deepEqual(runInContext(request('chosen'), write), fromWarn);
      assert.equal(levels.state().sampled, undefined);
    }
  });

  it('samples beside a changed level', () => {
    const { levels, write } = create();
    levels.sample('chosen', 5000);
    levels.set('error', 1000);
    assert.deepEqual(write(), []);
    assert.deepEqual(runInContext(request('chosen'), write), all);
    mock.timers.tick(1000);
    assert.deepEqual(write(), ['log level restored', ...fromInfo]);
    assert.deepEqual(runInContext(request('chosen'), write), all);
  });

  it('costs a disabled line nothing while no request is sampled', () => {
    const { logger, levels } = create();
    const { debug } = logger;
    levels.sample('chosen', 1000);
    assert.notEqual(logger.debug, debug);
    mock.timers.tick(1000);
    assert.equal(logger.debug, debug);
  });

  it('never changes the audit stream', () => {
    for (const level of ['silent', 'warn', 'info', 'debug']) {
      const { audit, levels, lines } = create(level);
      audit.write({ action: 'order.create', outcome: 'succeeded', entityId: 7 });
      levels.set('fatal', 1000);
      audit.write({ action: 'order.create', outcome: 'succeeded', entityId: 8 });
      assert.deepEqual(
        lines.map(({ stream }) => stream),
        ['audit', 'audit'],
      );
    }
  });
});
