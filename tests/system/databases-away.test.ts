import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { startPostgres, type TestPostgres } from '../../packages/chassis/src/database/testing-postgres.ts';
import { type SteadyOutcome, startSteadyLoad } from '../bench/steady-load.ts';
import { startSystem } from './lib/system.ts';

/** Milliseconds that both databases are away. */
const awayMs = 4000;
/** Milliseconds after they accept connections again in which requests may still fail. */
const recoveryMs = 1000;

const title = 'requests succeed again within a second after both databases are back';
const databases = await Promise.all([startPostgres(), startPostgres()]);
const [users, orders] = databases;
if (users !== undefined && orders !== undefined) {
  it(title, (context) => {
    context.after(() => Promise.all([users.stop(), orders.stop()]));
    return losesDatabases(context, users, orders);
  });
} else if (process.env.REQUIRE_POSTGRES === '1') {
  it(title, () => {
    throw new Error('REQUIRE_POSTGRES=1, but no PostgreSQL is installed');
  });
} else {
  it(`${title}: skipped, no PostgreSQL is installed`, { skip: true }, () => undefined);
}

/** Reads and writes of both services, and an aggregate of both. */
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

async function losesDatabases(
  context: { diagnostic(message: string): void; after(work: () => unknown): void },
  users: TestPostgres,
  orders: TestPostgres,
): Promise<void> {
  const system = await startSystem(
    { AUTH: 'off' },
    { 'user-service': { DATABASE_URL: users.url }, 'order-service': { DATABASE_URL: orders.url } },
  );
  context.after(system.close);
  const { hostname: host, port } = new URL(system.gateway.url);
  const outcomes: SteadyOutcome[] = [];
  const load = startSteadyLoad({
    ...{ host, port: Number(port), perSecond: 60 },
    request: (index) => requests[index % requests.length] as (typeof requests)[number],
    onOutcome: (outcome) => outcomes.push(outcome),
  });
  context.after(load.stop);

  await wait(1000);
  const awayAt = performance.now();
  await Promise.all([users.kill(), orders.kill()]);
  await wait(awayMs);
  await Promise.all([users.start(), orders.start()]);
  const backAt = performance.now();
  await wait(3000);
  await load.stop();

  const isGood = ({ status }: SteadyOutcome): boolean => status === 200 || status === 201;
  const sentBetween = (from: number, to: number): SteadyOutcome[] =>
    outcomes.filter(({ sentAt }) => sentAt >= from && sentAt < to);
  const lastFailure = Math.max(...outcomes.filter((outcome) => !isGood(outcome)).map(({ sentAt }) => sentAt));
  context.diagnostic(
    `${outcomes.length} requests; the last that failed was sent ${Math.round(lastFailure - backAt)} ms after both were back`,
  );
  assert.ok(sentBetween(0, awayAt).every(isGood), 'before');
  assert.ok(
    sentBetween(awayAt, backAt).some((outcome) => !isGood(outcome)),
    'the databases were away',
  );
  assert.deepEqual(
    sentBetween(backAt + recoveryMs, Number.POSITIVE_INFINITY)
      .filter((outcome) => !isGood(outcome))
      .map(({ status, sentAt }) => [status, Math.round(sentAt - backAt)]),
    [],
  );
}
