import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { type Collector, startCollector } from '../../packages/chassis/testing/collector.ts';
import { describeWithServer, type ServerProcess } from '../../packages/chassis/testing/server.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { startValkey } from '../../packages/gateway/testing/valkey.ts';
import { root } from '../../scripts/lib/services.ts';
import { openTarget, type Target } from '../attack/lib/target.ts';
import { prometheusProgram, startPrometheus, type TestPrometheus } from '../kit/prometheus.ts';
import { emptyExpressions } from '../monitoring/lib/empty-expressions.ts';
import { allExpressions, type Expression, rules, withoutConditions } from '../monitoring/lib/expressions.ts';

/** Milliseconds between rounds of requests: several rounds in the shortest range of a query, 15 s. */
const roundMs = 250;

await describeWithServer(prometheusProgram)('expressions of dashboards, rules and documentation', () => {
  let folder: string;
  let valkey: ServerProcess | undefined;
  let target: Target;
  let prometheus: TestPrometheus;
  let load: { stop(): Promise<void> };
  let collector: Collector;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-monitoring-'));
    const routes = join(folder, 'routes.yaml');
    await writeFile(routes, await readRoutes());
    collector = await startCollector();
    valkey = await startValkey().catch(() => undefined);
    target = await openTarget({
      ROUTES_FILE: routes,
      CIRCUIT_RESET_MS: '500',
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      ...(valkey !== undefined && { VALKEY_URL: valkey.url }),
    });
    const { users, orders, gateway } = target.system;
    prometheus = await startPrometheus(
      [users, orders, gateway].map(({ name, managementUrl }) => ({ job: name, managementUrl })),
      [{ name: 'zerda', rules }],
    );
    load = startLoad(target);
    // An outage, so that there are failed calls, retries of events and events of circuit breakers.
    await orders.stop();
    await wait(2000);
    await orders.start();
  });

  after(async () => {
    await load?.stop();
    await prometheus?.stop();
    await target?.close();
    await valkey?.stop();
    await collector?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Returns the expressions without data now. */
  async function findEmpty(expressions: readonly Expression[]): Promise<Expression[]> {
    const results = await Promise.all(
      expressions.map(async (expression) => {
        const samples = await prometheus.query(expression.text);
        return samples.some(({ value }) => !Number.isNaN(value)) ? [] : [expression];
      }),
    );
    return results.flat();
  }

  it('return data of the real services under load, or have a reason', async () => {
    const expressions = allExpressions().flatMap((expression) =>
      rules.some(({ alert, expr }) => alert !== undefined && expr === expression.text)
        ? withoutConditions(expression)
        : [expression],
    );
    const reasons = emptyExpressions({
      postgres: process.env.TEST_DATABASE_URL !== undefined,
      valkey: valkey !== undefined,
    });
    const reasonOf = ({ text }: Expression) => reasons.find(({ pattern }) => pattern.test(text));
    const checked = expressions.filter((expression) => reasonOf(expression) === undefined);
    let empty: Expression[] = checked;
    // Each expression must have data at some time; an outage lasts shorter than a load.
    await eventually(
      async () => {
        empty = await findEmpty(empty);
        assert.deepEqual(empty, []);
      },
      'data of each expression',
      60_000,
    ).catch(() => assert.deepEqual(empty, []));
    assert.ok(checked.length > 150, `${checked.length} expressions`);
    // Also those with a reason are accepted by Prometheus.
    await findEmpty(expressions);
    for (const { pattern } of reasons)
      assert.ok(
        expressions.some(({ text }) => pattern.test(text)),
        `no expression matches ${pattern}`,
      );
  });
});

/** Returns the default route table with a cache for single users, and a limit that unknown paths exceed. */
async function readRoutes(): Promise<string> {
  const table = await readFile(join(root, 'packages/gateway/routes.yaml'), 'utf8');
  const route = 'methods: [GET, PUT, DELETE], upstream: user-service';
  const limit = 'unmatched: { limit: { requests: 1000, per_seconds: 60 } }';
  assert.ok(table.includes(route) && table.includes(limit));
  return table
    .replace(route, `${route}, cache: { ttl_ms: 1000 }`)
    .replace(limit, 'unmatched: { limit: { requests: 2, per_seconds: 5 } }');
}

/** Sends every kind of request in rounds until it is stopped. */
function startLoad({ client, adminToken, admin, createUser, tryLogIn }: Target): { stop(): Promise<void> } {
  let running = true;

  async function sendRound(): Promise<void> {
    const token = await adminToken();
    const user = await createUser();
    const order = { user_id: user.id, product: 'Desk', quantity: 1, total: 10 };
    await Promise.all([
      client.send('POST', '/api/orders', { token, json: order }),
      client.send('GET', '/api/users/1', { token }),
      client.send('GET', '/api/orders/1', { token }),
      client.send('GET', '/api/orders/x', { token }),
      client.send('GET', `/api/users/${user.id}/profile`, { token }),
      client.send('GET', '/api/dashboard', { token }),
      client.send('GET', '/no/such/path'),
      tryLogIn(admin),
      tryLogIn({ email: user.email, password: 'wrong' }),
    ]);
    await client.send('DELETE', `/api/users/${user.id}`, { token });
  }

  const ended = (async () => {
    while (running) {
      // Limits and the outage reject some requests.
      await sendRound().catch(() => undefined);
      await wait(roundMs);
    }
  })();
  return {
    async stop() {
      running = false;
      await ended;
    },
  };
}
