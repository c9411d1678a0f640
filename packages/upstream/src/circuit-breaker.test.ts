import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Deadline } from '@zerda/chassis/deadline';
import { runInContext } from '@zerda/chassis/request-context';
import { recordingLogger } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import {
  type CircuitBreaker,
  type CircuitBreakerOptions,
  CircuitOpenError,
  createCircuitBreaker,
  type Outcome,
} from './circuit-breaker.ts';

/** Makes a call through the circuit breaker. The result or error of the call contains its outcome. */
async function run<Result extends Outcome>(
  breaker: CircuitBreaker,
  call: () => Promise<Result>,
): Promise<Result> {
  const started = breaker.start();
  if (started instanceof CircuitOpenError) throw started;
  try {
    const outcome = await call();
    breaker.record(started, outcome);
    return outcome;
  } catch (error) {
    breaker.record(started, (error as { outcome: Outcome }).outcome);
    throw error;
  }
}

const failed: { outcome: Outcome } = { outcome: 'failure' };
const unconnected: { outcome: Outcome } = { outcome: 'unconnected' };

function setUp(context: TestContext, settings: Partial<CircuitBreakerOptions> = {}) {
  const events: string[] = [];
  const states: number[] = [];
  const { logger, lines } = recordingLogger();
  const breaker = createCircuitBreaker({
    name: 'orders',
    volume: 1,
    errorPercent: 50,
    windowMs: 60_000,
    resetMs: 60_000,
    ...settings,
    metrics: {
      circuitEvent: (_circuit, event) => void events.push(event),
      circuitState: (_circuit, state) => void states.push(state),
    },
    logger,
  });
  context.after(() => breaker.shutdown());

  async function ends(outcome: Outcome): Promise<void> {
    await run(breaker, async () => outcome).catch(() => undefined);
  }
  async function fails(error = failed): Promise<void> {
    await assert.rejects(
      run(breaker, () => Promise.reject(error)),
      error,
    );
  }
  return { breaker, events, states, lines, ends, fails };
}

/** Stops the clock and the timers. Returns a function that sets the milliseconds since then. */
function mockTime(context: TestContext): (elapsed: number) => void {
  let now = 0;
  context.mock.method(performance, 'now', () => now);
  context.mock.timers.enable({ apis: ['setTimeout'] });
  return (elapsed) => {
    const ticks = elapsed - now;
    now = elapsed;
    context.mock.timers.tick(ticks);
  };
}

/** Creates a call that ends when the test calls `finish`. */
function heldCall() {
  let finish: (outcome: Outcome) => void = () => undefined;
  const held = new Promise<Outcome>((resolve) => {
    finish = resolve;
  });
  return { held, finish };
}

async function isRejected(breaker: CircuitBreaker): Promise<boolean> {
  let wasCalled = false;
  const call = async (): Promise<Outcome> => {
    wasCalled = true;
    return 'success';
  };
  const error = await run(breaker, call).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.equal(wasCalled, !(error instanceof CircuitOpenError));
  return error instanceof CircuitOpenError;
}

describe('circuit breaker', () => {
  it('permits calls until the minimum number has ended', async (context) => {
    const { breaker, fails, ends } = setUp(context, { volume: 10 });
    assert.equal(await run(breaker, async () => 'success' as const), 'success');
    await fails();
    await ends('failure');
    assert.equal(breaker.state, 'closed');
  });

  it('opens when failures exceed the percentage, but not before the minimum number of calls', async (context) => {
    const { breaker, fails, ends } = setUp(context, { volume: 4 });
    await ends('success');
    await fails();
    await fails();
    assert.equal(breaker.state, 'closed', 'three calls are not enough');
    await fails();
    assert.equal(breaker.state, 'open');
    assert.ok(await isRejected(breaker));
  });

  it('stays closed while at most half of the calls fail', async (context) => {
    const { breaker, ends } = setUp(context, { volume: 2 });
    for (let round = 0; round < 10; round += 1) {
      await ends('success');
      await ends('failure');
    }
    assert.equal(breaker.state, 'closed');
  });

  it('counts a result that is classified as a failure', async (context) => {
    const { breaker, ends } = setUp(context);
    await ends('failure');
    await eventually(() => breaker.state === 'open');
  });

  it('reports the time until the next probe in whole seconds', async (context) => {
    const long = setUp(context, { resetMs: 25_000 });
    await long.fails();
    await assert.rejects(
      run(long.breaker, async () => 'success' as const),
      (error) => {
        assert.ok(error instanceof CircuitOpenError);
        assert.equal(error.retryAfterSeconds, 3);
        return true;
      },
    );
    const short = setUp(context, { resetMs: 200 });
    await short.fails();
    await assert.rejects(
      run(short.breaker, async () => 'success' as const),
      { retryAfterSeconds: 1 },
    );
  });

  it('allows one probe after a while, and closes when it succeeds', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 500 });
    await fails();
    await eventually(() => breaker.state === 'half-open');
    const { held, finish } = heldCall();
    const probe = run(breaker, () => held);
    assert.ok(await isRejected(breaker), 'a second call is rejected during the probe');
    finish('success');
    await probe;
    await eventually(() => breaker.state === 'closed');
    assert.ok(!(await isRejected(breaker)));
  });

  it('ignores failures older than resetMs, even with a longer window', async (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const { breaker, fails } = setUp(context, { volume: 2, resetMs: 50 });
    await fails();
    context.mock.timers.tick(50);
    await fails();
    assert.equal(breaker.state, 'closed');
    await fails();
    assert.equal(breaker.state, 'open');
  });

  it('is probed soon after it opens, and less often the longer the outage lasts', async (context) => {
    const setTime = mockTime(context);
    const { breaker, fails, lines } = setUp(context, { resetMs: 500 });
    for (let elapsed = 0; elapsed < 1500; elapsed += 2) {
      setTime(elapsed);
      if (breaker.state !== 'open') await fails();
    }
    const delays = lines
      .filter(({ msg }) => msg === 'circuit opened')
      .map(({ retry_ms }) => retry_ms as number);
    assert.deepEqual(delays.slice(0, 2), [50, 50]);
    assert.ok((delays.at(-1) ?? 0) >= 200, delays.join());
    assert.ok(
      delays.every((delay, index) => delay >= (delays[index - 1] ?? 0) && delay <= 500),
      delays.join(),
    );
  });

  it('keeps the first probe interval while no connection is accepted, however long the outage', async (context) => {
    const setTime = mockTime(context);
    const { breaker, fails, lines } = setUp(context, { resetMs: 500 });
    for (let elapsed = 0; elapsed < 1000; elapsed += 2) {
      setTime(elapsed);
      if (breaker.state !== 'open') await fails(unconnected);
    }
    const intervals = lines.filter(({ msg }) => msg === 'circuit opened').map(({ retry_ms }) => retry_ms);
    assert.ok(intervals.length > 5, intervals.join());
    assert.deepEqual(new Set(intervals), new Set([50]));
  });

  it('closes as soon as a connection is accepted if all failures were refused connections', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 500 });
    await fails(unconnected);
    await eventually(() => breaker.state === 'half-open');
    const probe = breaker.start();
    assert.ok(!(probe instanceof CircuitOpenError));
    assert.ok(await isRejected(breaker));
    breaker.recordConnection(probe);
    assert.equal(breaker.state, 'closed');
    breaker.record(probe, 'failure');
    assert.equal(breaker.state, 'closed', 'the probe belongs to the outage');
    await fails();
    assert.equal(breaker.state, 'open');
  });

  for (const state of ['open', 'half-open'] as const) {
    it(`closes an ${state} circuit at a new address if all failures were calls without a connection`, async (context) => {
      const { breaker, fails } = setUp(context, { resetMs: 500 });
      await fails(unconnected);
      await eventually(() => breaker.state === state);
      breaker.recordNewAddress();
      assert.equal(breaker.state, 'closed');
      await fails(unconnected);
      assert.equal(breaker.state, 'open');
      breaker.recordNewAddress();
      assert.equal(breaker.state, 'open', 'the last new address did not help');
    });
  }

  it('closes at a new address again after a call has succeeded', async (context) => {
    const { breaker, ends, fails } = setUp(context);
    for (const outage of [1, 2]) {
      await eventually(async () => {
        await fails(unconnected);
        return breaker.state === 'open';
      });
      breaker.recordNewAddress();
      assert.equal(breaker.state, 'closed', `outage ${outage}`);
      await ends('success');
    }
  });

  it('stays open at a new address if an earlier call succeeds after the circuit opened', async (context) => {
    const { breaker, fails } = setUp(context);
    const { held, finish } = heldCall();
    const early = run(breaker, () => held);
    await fails();
    finish('success');
    await early;
    breaker.recordNewAddress();
    assert.equal(breaker.state, 'open');
  });

  it('stays open at a new address if a call has failed on a connection', async (context) => {
    const { breaker, fails } = setUp(context);
    await fails();
    breaker.recordNewAddress();
    assert.equal(breaker.state, 'open');
    assert.ok(await isRejected(breaker));
  });

  it('stays shut down at a new address', async (context) => {
    const { breaker, events, fails } = setUp(context);
    await fails(unconnected);
    breaker.shutdown();
    breaker.recordNewAddress();
    assert.deepEqual(events, ['failure', 'open']);
    assert.ok(await isRejected(breaker));
  });

  it('waits for the response of a probe if a call has failed on a connection', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 500, volume: 2 });
    await fails();
    await fails(unconnected);
    await eventually(() => breaker.state === 'half-open');
    const probe = breaker.start();
    assert.ok(!(probe instanceof CircuitOpenError));
    breaker.recordConnection(probe);
    assert.equal(breaker.state, 'half-open');
    breaker.record(probe, 'success');
    assert.equal(breaker.state, 'closed');
  });

  it('closes after a second probe if the first one hangs', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 500 });
    await fails();
    await eventually(() => breaker.state === 'half-open');
    const { held, finish } = heldCall();
    const hanging = run(breaker, () => held);
    assert.ok(await isRejected(breaker));
    await wait(60);
    assert.ok(!(await isRejected(breaker)));
    await eventually(() => breaker.state === 'closed');
    finish('failure');
    await hanging;
    await wait(1);
    assert.equal(breaker.state, 'closed', 'the late failure of the first probe is ignored');
  });

  it('allows at most three concurrent probes', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 500 });
    await fails();
    await eventually(() => breaker.state === 'half-open');
    const { held, finish } = heldCall();
    const hanging: Promise<unknown>[] = [];
    const endsAt = performance.now() + 400;
    while (performance.now() < endsAt) {
      const call = run(breaker, () => held);
      hanging.push(call.catch(() => undefined));
      await wait(5);
    }
    assert.equal(breaker.history.successes, 0);
    finish('success');
    const outcomes = await Promise.all(hanging);
    assert.equal(outcomes.filter((outcome) => outcome === 'success').length, 3);
  });

  it('ignores calls that started before the outage and fail after it', async (context) => {
    const { breaker, fails } = setUp(context, { volume: 2, resetMs: 500 });
    const { held, finish } = heldCall();
    const hanging = Array.from({ length: 20 }, () => run(breaker, () => held));
    while (breaker.state === 'closed') await fails();
    await eventually(() => breaker.state === 'half-open');
    await run(breaker, async () => 'success' as const);
    await eventually(() => breaker.state === 'closed');
    finish('failure');
    await Promise.all(hanging);
    await wait(1);
    assert.equal(breaker.state, 'closed');
    for (let call = 0; call < 2; call += 1) await fails();
    assert.equal(breaker.state, 'open', 'new failures count');
  });

  it('opens again when the probe fails', async (context) => {
    const { breaker, fails, events } = setUp(context, { resetMs: 500 });
    await fails();
    await eventually(() => breaker.state === 'half-open');
    await fails();
    assert.equal(events.filter((event) => event === 'open').length, 2);
    await eventually(() => breaker.state === 'half-open');
    assert.ok(!(await isRejected(breaker)));
  });

  it('uses the next call as the probe if the probe is ignored', async (context) => {
    for (const outcome of ['success', 'failure'] as const) {
      const { breaker, fails, ends, events } = setUp(context, { resetMs: 500 });
      await fails();
      await eventually(() => breaker.state === 'half-open');
      await ends('ignored');
      await ends('ignored');
      assert.equal(breaker.state, 'half-open', 'ignored calls change nothing');
      await ends(outcome);
      const decision = outcome === 'success' ? 'close' : 'open';
      await eventually(() => events.lastIndexOf(decision) > events.indexOf('ignored'));
    }
  });

  it('allows only one call at a time to replace an ignored probe', async (context) => {
    const { breaker, fails, ends } = setUp(context, { resetMs: 500 });
    await fails();
    await eventually(() => breaker.state === 'half-open');
    await ends('ignored');
    const { held, finish } = heldCall();
    const second = run(breaker, () => held);
    assert.ok(await isRejected(breaker));
    finish('success');
    await second;
    await eventually(() => breaker.state === 'closed');
  });

  it('opens when calls that started together fail after the window has passed', async (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const { breaker } = setUp(context, { volume: 10, windowMs: 5000 });
    const { held, finish } = heldCall();
    const calls = Array.from({ length: 10 }, () => run(breaker, () => held));
    context.mock.timers.tick(5000);
    finish('failure');
    await Promise.all(calls);
    await wait(1);
    assert.equal(breaker.state, 'open');
  });

  it('is not influenced by ignored calls', async (context) => {
    const ignoring = setUp(context, { volume: 3 });
    for (let call = 0; call < 20; call += 1) await ignoring.ends('ignored');
    assert.equal(ignoring.breaker.state, 'closed');
    for (let call = 0; call < 3; call += 1) await ignoring.fails();
    assert.equal(ignoring.breaker.state, 'open', 'twenty ignored calls do not outweigh three failures');
  });

  it('ignores failures and rejections from before it closed', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 200, volume: 2 });
    await fails();
    await fails();
    await eventually(() => breaker.state === 'half-open');
    const { held, finish } = heldCall();
    const probe = run(breaker, () => held);
    for (let call = 0; call < 50; call += 1) assert.ok(await isRejected(breaker));
    finish('success');
    await probe;
    await eventually(() => breaker.state === 'closed');
    await fails();
    assert.equal(breaker.state, 'closed', 'one failure is less than the volume');
    await fails();
    assert.equal(breaker.state, 'open', 'fifty rejections do not outweigh two failures');
  });

  it('reports its history', async (context) => {
    const { breaker, fails, ends } = setUp(context, { volume: 3 });
    const startedAt = Date.now();
    await ends('success');
    await fails();
    await fails();
    assert.ok(await isRejected(breaker));
    const { since, ...counts } = breaker.history;
    assert.deepEqual(counts, { successes: 1, failures: 2, rejections: 1, openings: 1 });
    assert.ok(since.getTime() >= startedAt);
  });

  it('reports every event and state to the metrics', async (context) => {
    const { breaker, fails, ends, events, states } = setUp(context, { resetMs: 500 });
    assert.deepEqual(states, [0]);
    await fails();
    await isRejected(breaker);
    await eventually(() => breaker.state === 'half-open');
    assert.equal(states.at(-1), 1);
    await ends('ignored');
    await ends('success');
    await eventually(() => breaker.state === 'closed');
    assert.deepEqual(
      events.filter((event, index) => event !== events[index - 1]),
      ['failure', 'open', 'reject', 'halfOpen', 'ignored', 'close', 'success'],
    );
    assert.equal(states.at(-1), 0);
    assert.ok(states.includes(2));
  });

  it('logs state changes without the correlation id of the current request', async (context) => {
    const { breaker, fails, ends, lines } = setUp(context, { resetMs: 500 });
    await runInContext({ correlationId: 'unrelated', deadline: Deadline.after(1000) }, async () => {
      await fails();
      await eventually(() => breaker.state === 'half-open');
      await ends('success');
      await eventually(() => breaker.state === 'closed');
    });
    assert.deepEqual(
      lines.map(({ level, msg, circuit, correlation_id }) => ({ level, msg, circuit, correlation_id })),
      [
        { level: 'warn', msg: 'circuit opened', circuit: 'orders', correlation_id: undefined },
        { level: 'info', msg: 'circuit half-open', circuit: 'orders', correlation_id: undefined },
        { level: 'info', msg: 'circuit closed', circuit: 'orders', correlation_id: undefined },
      ],
    );
  });
});
