import assert from 'node:assert/strict';
import { after, before, beforeEach, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { recordingLogger, testMetrics } from '@zerda/chassis/testing/observed';
import type { ServerProcess } from '@zerda/chassis/testing/server';
import { recordedRequest } from '@zerda/chassis/testing/tracer';
import { describeOnValkey, startValkey } from '../../testing/valkey.ts';
import { createPolicyMetrics } from '../metrics/policy-metrics.ts';
import type { Limiters } from './limiter.ts';
import { createValkeyLimiters } from './valkey-limiters.ts';

await describeOnValkey('rate limits shared in Valkey', () => {
  let valkey: ServerProcess;
  before(async () => {
    valkey = await startValkey();
  });
  after(() => valkey.stop());
  beforeEach(async () => {
    await valkey.kill();
    await valkey.start();
  });

  function replica(context: TestContext) {
    const metrics = testMetrics();
    const { logger, lines } = recordingLogger();
    const limiters = createValkeyLimiters({
      url: valkey.url,
      metrics: createPolicyMetrics(metrics.registry),
      logger,
      lifecycle: { onShutdown: (_name, close) => context.after(close) },
    });
    const shared = async () => /^rate_limits_shared (\d)$/m.exec((await metrics.render()).body)?.[1];
    const untilShared = async (wanted: string): Promise<void> => {
      const giveUpAt = performance.now() + 5000;
      while ((await shared()) !== wanted) {
        assert.ok(performance.now() < giveUpAt, `rate_limits_shared is not ${wanted}`);
        await wait(5);
      }
    };
    return { limiters, shared, untilShared, messages: () => lines.map(({ msg }) => String(msg)) };
  }

  const quota = { requests: 5, perSeconds: 600 };

  async function countMany(limiters: Limiters, times: number, key = 'a'): Promise<boolean[]> {
    const limiter = limiters.create('GET /x', quota);
    const counts = await Promise.all(Array.from({ length: times }, () => limiter.count(key)));
    return counts.map(({ allowed }) => allowed);
  }

  it('counts requests by key across all replicas', async (context) => {
    const first = replica(context);
    const second = replica(context);
    await Promise.all([first.untilShared('1'), second.untilShared('1')]);
    assert.equal((await countMany(first.limiters, 3)).filter(Boolean).length, 3);
    assert.equal((await countMany(second.limiters, 4)).filter(Boolean).length, 2);
    assert.equal((await countMany(first.limiters, 1)).filter(Boolean).length, 0);
    assert.equal((await countMany(second.limiters, 1, 'b')).filter(Boolean).length, 1);
    const { remaining, resetMs } = await first.limiters.create('GET /y', quota).count('a');
    assert.deepEqual([remaining, resetMs > 590_000 && resetMs <= 600_000], [4, true]);
  });

  it('records a span of each command, which fails with it', async (context) => {
    const first = replica(context);
    await first.untilShared('1');
    const limiter = first.limiters.create('GET /x', quota);
    const { context: request, children } = recordedRequest();
    await limiter.count('a', request);
    valkey.signal('SIGSTOP');
    await limiter.count('a', request);
    valkey.signal('SIGCONT');
    assert.deepEqual(
      children().map(({ key, failed, ended }) => [key, failed, ended]),
      [
        ['counter', false, true],
        ['counter', true, true],
      ],
    );
  });

  it('counts per replica until Valkey becomes available after the start', async (context) => {
    await valkey.kill();
    const first = replica(context);
    await first.untilShared('0');
    assert.equal((await countMany(first.limiters, 7)).filter(Boolean).length, 5);
    await valkey.start();
    await first.untilShared('1');
    assert.equal(
      (await countMany(first.limiters, 7)).filter(Boolean).length,
      5,
      'Valkey starts with empty counts',
    );
    assert.deepEqual(first.messages(), [
      'Valkey unavailable, rate limits per replica',
      'Valkey connected, rate limits shared',
    ]);
  });

  it('counts every request without delay when Valkey is killed under load', async (context) => {
    const first = replica(context);
    await first.untilShared('1');
    const limiter = first.limiters.create('GET /load', { requests: 1_000_000, perSeconds: 600 });
    let killed: Promise<void> | undefined;
    let slowest = 0;
    for (let round = 0; round < 60; round += 1) {
      if (round === 20) killed = valkey.kill();
      const startedAt = performance.now();
      const counts = await Promise.all(Array.from({ length: 50 }, (_, key) => limiter.count(String(key))));
      assert.ok(counts.every(({ allowed }) => allowed));
      slowest = Math.max(slowest, performance.now() - startedAt);
    }
    await killed;
    assert.ok(slowest < 1000, `${slowest} ms`);
    await first.untilShared('0');
    await valkey.start();
    await first.untilShared('1');
    // On a slow machine, Valkey may be late before it is killed.
    const messages = first.messages();
    assert.ok(messages.length >= 3, messages.join('\n'));
    const repeated = messages.filter((message, index) => message === messages[index - 1]);
    assert.deepEqual(repeated, [], 'one log line per change');
  });

  it('counts per replica while Valkey hangs, and only the first requests wait', async (context) => {
    const first = replica(context);
    await first.untilShared('1');
    valkey.signal('SIGSTOP');
    try {
      assert.equal((await countMany(first.limiters, 7)).filter(Boolean).length, 5);
      const startedAt = performance.now();
      await countMany(first.limiters, 1, 'b');
      assert.ok(performance.now() - startedAt < 50);
      assert.equal(await first.shared(), '0');
    } finally {
      valkey.signal('SIGCONT');
    }
  });
});
