import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { describeWithPostgres, startPostgres } from '../../packages/chassis/testing/postgres.ts';
import { type SteadyOutcome, startSteadyLoad } from '../bench/steady-load.ts';
import { startSystem } from '../kit/system.ts';

/** Milliseconds of the outage of both databases. */
const outageMs = 4000;
/** Milliseconds after the restart of the databases during which requests may fail. */
const recoveryMs = 1000;

/** Reads of both services, a write and an aggregate. */
const requests = [
  { path: '/api/users/1' },
  { path: '/api/orders/1' },
  { path: '/api/users/1/profile' },
  {
    method: 'POST',
    path: '/api/orders',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user_id: 1, product: 'Desk', quantity: 1, total: 10 }),
  },
] as const;

await describeWithPostgres('an outage of both databases', () => {
  it('fails no request from 1 s after their restart', async (context) => {
    const [users, orders] = await Promise.all([startPostgres(), startPostgres()]);
    context.after(() => Promise.all([users?.stop(), orders?.stop()]));
    assert.ok(users && orders);
    const system = await startSystem(
      { AUTH: 'off' },
      { 'user-service': { DATABASE_URL: users.url }, 'order-service': { DATABASE_URL: orders.url } },
    );
    context.after(system.close);
    const { hostname: host, port } = new URL(system.gateway.url);
    const outcomes: SteadyOutcome[] = [];
    const load = startSteadyLoad({
      host,
      port: Number(port),
      perSecond: 60,
      request: (index) => requests[index % requests.length] as (typeof requests)[number],
      onOutcome: (outcome) => outcomes.push(outcome),
    });
    context.after(load.stop);

    await wait(1000);
    const killedAt = performance.now();
    await Promise.all([users.kill(), orders.kill()]);
    await wait(outageMs);
    await Promise.all([users.start(), orders.start()]);
    const restartedAt = performance.now();
    await wait(3000);
    await load.stop();

    const hasSucceeded = ({ status }: SteadyOutcome): boolean => status === 200 || status === 201;
    const sentBetween = (from: number, to: number): SteadyOutcome[] =>
      outcomes.filter(({ sentAt }) => sentAt >= from && sentAt < to);
    const lastFailure = Math.max(
      ...outcomes.filter((outcome) => !hasSucceeded(outcome)).map(({ sentAt }) => sentAt),
    );
    context.diagnostic(
      `${outcomes.length} requests; the last failed one was sent ${Math.round(lastFailure - restartedAt)} ms after the restart`,
    );
    assert.deepEqual(
      outcomes.filter((outcome) => outcome.endedAt < killedAt && !hasSucceeded(outcome)),
      [],
      'no request failed before the outage',
    );
    assert.ok(
      sentBetween(killedAt, restartedAt).some((outcome) => !hasSucceeded(outcome)),
      'requests failed during the outage',
    );
    assert.deepEqual(
      sentBetween(restartedAt + recoveryMs, Number.POSITIVE_INFINITY)
        .filter((outcome) => !hasSucceeded(outcome))
        .map(({ status, sentAt }) => [status, Math.round(sentAt - restartedAt)]),
      [],
    );
  });
});
