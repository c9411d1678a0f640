import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fixturePlans, textOf } from '../testing/fixture-plans.ts';
import { createRestarter } from './restarter.ts';

async function run(mode?: string) {
  const [plan] = await fixturePlans(mode);
  assert.ok(plan);
  const events: string[] = [];
  const waiting: (() => void)[] = [];
  const note = (event: string): void => {
    events.push(event);
    for (const wake of waiting.splice(0)) wake();
  };
  const restarter = createRestarter(plan, {
    onLine: () => {},
    onReady: () => note('ready'),
    onUnexpectedExit: (exitCode) => note(`died ${exitCode}`),
  });
  const until = async (count: number): Promise<void> => {
    while (events.length < count) await new Promise<void>((resolve) => waiting.push(resolve));
  };
  return { plan, events, restarter, until };
}

describe('restarter', () => {
  it('replaces the process and never runs two at once', async () => {
    const { plan, events, restarter, until } = await run();
    restarter.restart();
    await until(1);
    const first = await textOf(plan.url);
    restarter.restart();
    await until(2);
    assert.notEqual(await textOf(plan.url), first);
    assert.deepEqual(events, ['ready', 'ready']);
    assert.equal(await restarter.stop(), 0);
    await assert.rejects(textOf(plan.url));
  });

  it('combines changes during a restart into one restart', async () => {
    const { restarter, events, until } = await run();
    restarter.restart();
    await until(1);
    for (let change = 0; change < 5; change += 1) restarter.restart();
    await until(2);
    await restarter.stop();
    assert.deepEqual(events, ['ready', 'ready']);
  });

  it('does not restart a process that ended until the next change', async () => {
    const { plan, events, restarter, until } = await run();
    restarter.restart();
    await until(1);
    await textOf(`${plan.url}/die`).catch(() => undefined);
    await until(2);
    assert.deepEqual(events, ['ready', 'died 3']);
    await assert.rejects(textOf(plan.url));
    restarter.restart();
    await until(3);
    assert.match(await textOf(plan.url), /^\d+$/);
    await restarter.stop();
  });

  it('stops when no process is running', async () => {
    const { restarter } = await run();
    assert.equal(await restarter.stop(), 0);
  });
});
