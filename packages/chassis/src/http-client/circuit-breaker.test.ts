import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { recordingLogger } from '../testing.ts';
import {
  type CircuitBreaker,
  CircuitOpenError,
  createCircuitBreaker,
  type Judge,
  type Outcome,
} from './circuit-breaker.ts';

/** Judges a call by the outcome it ends with. */
const byItself: Judge<Outcome> = {
  onResult: (outcome) => outcome,
  onError: (error) => (error as { outcome: Outcome }).outcome,
};

const failed = { outcome: 'failure' };

function setUp(
  context: TestContext,
  settings: { volume?: number; errorPercent?: number; resetMs?: number } = {},
) {
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
    await breaker.run(async () => outcome, byItself).catch(() => undefined);
  }
  async function fails(): Promise<void> {
    await assert.rejects(
      breaker.run(() => Promise.reject(failed), byItself),
      failed,
    );
  }
  return { breaker, events, states, lines, ends, fails };
}

/** A call that ends when it is told to. */
function heldCall() {
  let answer: (outcome: Outcome) => void = () => undefined;
  const held = new Promise<Outcome>((resolve) => {
    answer = resolve;
  });
  return { held, answer };
}

async function until(condition: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < giveUpAt, 'waited in vain');
    await wait(2);
  }
}

async function isRejected(breaker: CircuitBreaker): Promise<boolean> {
  let made = false;
  const call = async (): Promise<Outcome> => {
    made = true;
    return 'success';
  };
  const error = await breaker.run(call, byItself).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.equal(made, !(error instanceof CircuitOpenError));
  return error instanceof CircuitOpenError;
}

describe('circuit breaker', () => {
  it('hands on results and errors as they are', async (context) => {
    const { breaker, fails, ends } = setUp(context, { volume: 10 });
    assert.equal(await breaker.run(async () => 'success' as const, byItself), 'success');
    await fails();
    await ends('failure');
    assert.equal(breaker.state, 'closed');
  });

  it('opens when failures pass the share, not before there are enough calls', async (context) => {
    const { breaker, fails, ends } = setUp(context, { volume: 4 });
    await ends('success');
    await fails();
    await fails();
    assert.equal(breaker.state, 'closed', 'three calls are too few');
    await fails();
    assert.equal(breaker.state, 'open');
    assert.ok(await isRejected(breaker));
  });

  it('stays closed while failures are half of the calls or fewer', async (context) => {
    const { breaker, ends } = setUp(context, { volume: 2 });
    for (let round = 0; round < 10; round += 1) {
      await ends('success');
      await ends('failure');
    }
    assert.equal(breaker.state, 'closed');
  });

  it('counts an answer judged as a failure although the call itself did not throw', async (context) => {
    const { breaker, ends } = setUp(context);
    await ends('failure');
    await until(() => breaker.state === 'open');
  });

  it('says in whole seconds when to come back', async (context) => {
    const long = setUp(context, { resetMs: 25_000 });
    await long.fails();
    await assert.rejects(
      long.breaker.run(async () => 'success' as const, byItself),
      (error) => {
        assert.ok(error instanceof CircuitOpenError);
        assert.equal(error.retryAfterSeconds, 3);
        return true;
      },
    );
    const short = setUp(context, { resetMs: 200 });
    await short.fails();
    await assert.rejects(
      short.breaker.run(async () => 'success' as const, byItself),
      { retryAfterSeconds: 1 },
    );
  });

  it('lets one call through after a while, and closes when it succeeds', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 500 });
    await fails();
    await until(() => breaker.state === 'half-open');
    const { held, answer } = heldCall();
    const probe = breaker.run(() => held, byItself);
    assert.ok(await isRejected(breaker), 'the second call waits for the first');
    answer('success');
    await probe;
    await until(() => breaker.state === 'closed');
    assert.ok(!(await isRejected(breaker)));
  });

  it('judges by no failure that is older than its rest, however long its window', async (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const { breaker, fails } = setUp(context, { volume: 2, resetMs: 50 });
    await fails();
    context.mock.timers.tick(50);
    await fails();
    assert.equal(breaker.state, 'closed');
    await fails();
    assert.equal(breaker.state, 'open');
  });

  it('is probed soon after it opens, and more seldom the longer the outage lasts', async (context) => {
    const { breaker, fails, lines } = setUp(context, { resetMs: 500 });
    const giveUpAt = performance.now() + 1500;
    while (performance.now() < giveUpAt) {
      if (breaker.state === 'open') await wait(2);
      else await fails();
    }
    const rests = lines
      .filter(({ msg }) => msg === 'circuit opened')
      .map(({ retry_ms }) => retry_ms as number);
    assert.deepEqual(rests.slice(0, 2), [50, 50]);
    assert.ok((rests.at(-1) ?? 0) >= 200, rests.join());
    assert.ok(
      rests.every((rest, index) => rest >= (rests[index - 1] ?? 0) && rest <= 500),
      rests.join(),
    );
  });

  it('closes by a second probe when the first one hangs', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 500 });
    await fails();
    await until(() => breaker.state === 'half-open');
    const { held, answer } = heldCall();
    const hanging = breaker.run(() => held, byItself);
    assert.ok(await isRejected(breaker));
    await wait(60);
    assert.ok(!(await isRejected(breaker)));
    await until(() => breaker.state === 'closed');
    answer('failure');
    await hanging;
    await wait(1);
    assert.equal(breaker.state, 'closed', 'the late end of the first probe is of the outage');
  });

  it('lets no more than three probes hang at the same time', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 500 });
    await fails();
    await until(() => breaker.state === 'half-open');
    const { held, answer } = heldCall();
    const hanging: Promise<unknown>[] = [];
    const giveUpAt = performance.now() + 400;
    while (performance.now() < giveUpAt) {
      const call = breaker.run(() => held, byItself);
      hanging.push(call.catch(() => undefined));
      await wait(5);
    }
    assert.equal(breaker.history.successes, 0);
    answer('success');
    const outcomes = await Promise.all(hanging);
    assert.equal(outcomes.filter((outcome) => outcome === 'success').length, 3);
  });

  it('is not opened again by calls that hung through the outage and fail after it has closed', async (context) => {
    const { breaker, fails } = setUp(context, { volume: 2, resetMs: 500 });
    const { held, answer } = heldCall();
    const hanging = Array.from({ length: 20 }, () => breaker.run(() => held, byItself));
    while (breaker.state === 'closed') await fails();
    await until(() => breaker.state === 'half-open');
    await breaker.run(async () => 'success' as const, byItself);
    await until(() => breaker.state === 'closed');
    answer('failure');
    await Promise.all(hanging);
    await wait(1);
    assert.equal(breaker.state, 'closed');
    for (let call = 0; call < 2; call += 1) await fails();
    assert.equal(breaker.state, 'open', 'new failures count');
  });

  it('opens again when the probe fails', async (context) => {
    const { breaker, fails, events } = setUp(context, { resetMs: 500 });
    await fails();
    await until(() => breaker.state === 'half-open');
    await fails();
    assert.equal(events.filter((event) => event === 'open').length, 2);
    await until(() => breaker.state === 'half-open');
    assert.ok(!(await isRejected(breaker)));
  });

  it('judges a half-open circuit by the next call when the probe tells nothing', async (context) => {
    for (const outcome of ['success', 'failure'] as const) {
      const { breaker, fails, ends, events } = setUp(context, { resetMs: 500 });
      await fails();
      await until(() => breaker.state === 'half-open');
      await ends('ignored');
      await ends('ignored');
      assert.equal(breaker.state, 'half-open', 'nothing was learned');
      await ends(outcome);
      const decision = outcome === 'success' ? 'close' : 'open';
      await until(() => events.lastIndexOf(decision) > events.indexOf('ignored'));
    }
  });

  it('lets only one call at a time take the place of a probe that told nothing', async (context) => {
    const { breaker, fails, ends } = setUp(context, { resetMs: 500 });
    await fails();
    await until(() => breaker.state === 'half-open');
    await ends('ignored');
    const { held, answer } = heldCall();
    const second = breaker.run(() => held, byItself);
    assert.ok(await isRejected(breaker));
    answer('success');
    await second;
    await until(() => breaker.state === 'closed');
  });

  it('is neither opened nor kept from opening by calls that tell nothing', async (context) => {
    const ignoring = setUp(context, { volume: 3 });
    for (let call = 0; call < 20; call += 1) await ignoring.ends('ignored');
    assert.equal(ignoring.breaker.state, 'closed');
    for (let call = 0; call < 3; call += 1) await ignoring.fails();
    assert.equal(
      ignoring.breaker.state,
      'open',
      'twenty calls that told nothing do not outweigh three failures',
    );
  });

  it('judges by nothing that was before it closed: old failures, and calls it rejected', async (context) => {
    const { breaker, fails } = setUp(context, { resetMs: 200, volume: 2 });
    await fails();
    await fails();
    await until(() => breaker.state === 'half-open');
    const { held, answer } = heldCall();
    const probe = breaker.run(() => held, byItself);
    for (let call = 0; call < 50; call += 1) assert.ok(await isRejected(breaker));
    answer('success');
    await probe;
    await until(() => breaker.state === 'closed');
    await fails();
    assert.equal(breaker.state, 'closed', 'one failure is less than the volume');
    await fails();
    assert.equal(breaker.state, 'open', 'fifty rejections do not outweigh two failures');
  });

  it('tells what it has been through', async (context) => {
    const { breaker, fails, ends } = setUp(context, { volume: 3 });
    const begun = Date.now();
    await ends('success');
    await fails();
    await fails();
    assert.ok(await isRejected(breaker));
    const { since, ...counts } = breaker.history;
    assert.deepEqual(counts, { successes: 1, failures: 2, rejections: 1, openings: 1 });
    assert.ok(since.getTime() >= begun);
  });

  it('shows every event and state to metrics', async (context) => {
    const { breaker, fails, ends, events, states } = setUp(context, { resetMs: 500 });
    assert.deepEqual(states, [0]);
    await fails();
    await isRejected(breaker);
    await until(() => breaker.state === 'half-open');
    assert.equal(states.at(-1), 1);
    await ends('ignored');
    await ends('success');
    await until(() => breaker.state === 'closed');
    assert.deepEqual(
      events.filter((event, index) => event !== events[index - 1]),
      ['failure', 'open', 'reject', 'halfOpen', 'ignored', 'close', 'success'],
    );
    assert.equal(states.at(-1), 0);
    assert.ok(states.includes(2));
  });

  it('logs its changes without the correlation id of the request that met them', async (context) => {
    const { breaker, fails, ends, lines } = setUp(context, { resetMs: 500 });
    await runInContext({ correlationId: 'unrelated', deadline: Deadline.after(1000) }, async () => {
      await fails();
      await until(() => breaker.state === 'half-open');
      await ends('success');
      await until(() => breaker.state === 'closed');
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
