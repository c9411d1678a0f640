import assert from 'node:assert/strict';
import { after, before, beforeEach, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { recordingLogger, testMetrics } from '@zerda/chassis/testing';
import type { Limiters } from './limiter.ts';
import { describeOnValkey, prepareValkey, type TestValkey } from './testing-valkey.ts';
import { createValkeyLimiters } from './valkey-limiters.ts';

await describeOnValkey('limits that replicas share', () => {
  let valkey: TestValkey;
  before(async () => {
    valkey = await prepareValkey();
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
      ...{ url: valkey.url, metrics: metrics.policies, logger },
      lifecycle: { onShutdown: (_name, close) => context.after(close) },
    });
    const shared = async () => /^rate_limits_shared (\d)$/m.exec((await metrics.render()).body)?.[1];
    const becomes = async (wanted: string): Promise<void> => {
      const giveUpAt = performance.now() + 5000;
      while ((await shared()) !== wanted) {
        assert.ok(performance.now() < giveUpAt, `rate_limits_shared is not ${wanted}`);
        await wait(5);
      }
    };
    return { limiters, shared, becomes, said: () => lines.map(({ msg }) => String(msg)) };
  }

  const quota = { requests: 5, perSeconds: 600 };

  async function countMany(limiters: Limiters, times: number, key = 'a'): Promise<boolean[]> {
    const limiter = limiters.create('GET /x', quota);
    const counts = await Promise.all(Array.from({ length: times }, () => limiter.count(key)));
    return counts.map(({ allowed }) => allowed);
  }

  it('count all replicas together, and by key', async (context) => {
    const one = replica(context);
    const two = replica(context);
    await Promise.all([one.becomes('1'), two.becomes('1')]);
    assert.equal((await countMany(one.limiters, 3)).filter(Boolean).length, 3);
    assert.equal((await countMany(two.limiters, 4)).filter(Boolean).length, 2);
    assert.equal((await countMany(one.limiters, 1)).filter(Boolean).length, 0);
    assert.equal((await countMany(two.limiters, 1, 'b')).filter(Boolean).length, 1);
    const { remaining, resetMs } = await one.limiters.create('GET /y', quota).count('a');
    assert.deepEqual([remaining, resetMs > 590_000 && resetMs <= 600_000], [4, true]);
  });

  it('are counted here while Valkey is away from the start, until it comes', async (context) => {
    await valkey.kill();
    const one = replica(context);
    await one.becomes('0');
    assert.equal((await countMany(one.limiters, 7)).filter(Boolean).length, 5);
    await valkey.start();
    await one.becomes('1');
    assert.equal(
      (await countMany(one.limiters, 7)).filter(Boolean).length,
      5,
      'there, nothing was counted yet',
    );
    assert.deepEqual(one.said(), [
      'limits hold for this replica alone: Valkey is away',
      'limits are shared with other replicas: Valkey answers',
    ]);
  });

  it('go on when Valkey is killed under load, each request in no time and none failed', async (context) => {
    const one = replica(context);
    await one.becomes('1');
    const limiter = one.limiters.create('GET /load', { requests: 1_000_000, perSeconds: 600 });
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
    await one.becomes('0');
    await valkey.start();
    await one.becomes('1');
    assert.equal(one.said().length, 3, 'one line for each change');
  });

  it('are counted here while Valkey hangs, which costs a request a moment and the next ones nothing', async (context) => {
    const one = replica(context);
    await one.becomes('1');
    valkey.signal('SIGSTOP');
    try {
      assert.equal((await countMany(one.limiters, 7)).filter(Boolean).length, 5);
      const startedAt = performance.now();
      await countMany(one.limiters, 1, 'b');
      assert.ok(performance.now() - startedAt < 50);
      assert.equal(await one.shared(), '0');
    } finally {
      valkey.signal('SIGCONT');
    }
  });
});
