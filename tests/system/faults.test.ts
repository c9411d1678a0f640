import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { eventually } from './lib/eventually.ts';
import { type Answer, type Call, call, readSample } from './lib/http.ts';
import { type Service, type System, startSystem } from './lib/system.ts';

/** Circuits that open and probe quickly, so that a test need not wait long. */
const quickCircuits = { CIRCUIT_VOLUME: '5', CIRCUIT_WINDOW_MS: '1000', CIRCUIT_RESET_MS: '1000' };

const closed = 0;
const open = 2;

const circuitState = (service: Service, circuit: string): Promise<number> =>
  readSample(service.managementUrl, `circuit_breaker_state{circuit="${circuit}"}`);

const order = (product = 'Desk', userId = 2): Call => ({
  method: 'POST',
  json: { user_id: userId, product, quantity: 1, total: 10 },
});

describe('order-service is killed', () => {
  let system: System;
  let gateway: string;

  before(async () => {
    system = await startSystem(quickCircuits);
    gateway = system.gateway.url;
    assert.equal((await call(`${gateway}/api/dashboard`)).body.data.degraded, undefined);
    await system.orders.kill();
  });
  after(() => system.close());

  it('leaves the dashboard and the profile, which say what is missing', async () => {
    const dashboard = await call(`${gateway}/api/dashboard`);
    assert.equal(dashboard.status, 200, dashboard.text);
    assert.deepEqual([dashboard.body.data.total_users, dashboard.body.data.total_orders], [3, null]);
    const profile = await call(`${gateway}/api/users/1/profile`);
    assert.equal(profile.status, 200, profile.text);
    assert.deepEqual([profile.body.data.user.name, profile.body.data.orders], ['Alice Johnson', null]);
    for (const { body } of [dashboard, profile]) {
      assert.equal(body.data.degraded.length, 1);
      assert.equal(body.data.degraded[0].part, 'orders');
    }
    const health = await call(`${gateway}/api/health`);
    assert.equal(health.body.data.overall_status, 'degraded');
    assert.equal(health.body.data.services.order_service.status, 'unhealthy');
  });

  it('opens the circuit, so that calls fail at once instead of trying', async () => {
    await eventually(async () => {
      await call(`${gateway}/api/orders`);
      assert.equal(await circuitState(system.gateway, 'order-service'), open);
    });
    const refused = await eventually(async () => {
      const answer = await call(`${gateway}/api/orders`, order());
      assert.deepEqual([answer.status, answer.body.type], [503, '/problems/upstream-unavailable']);
      return answer;
    });
    assert.ok(Number(refused.headers.get('retry-after')) >= 1);
    const { body } = await call(`${gateway}/api/dashboard`);
    assert.deepEqual(body.data.degraded, [{ part: 'orders', reason: 'circuit_open' }]);
  });

  it('leaves users as they are', async () => {
    assert.equal((await call(`${gateway}/api/users/1`)).status, 200);
    assert.equal(await circuitState(system.gateway, 'user-service'), closed);
  });

  it('closes the circuit by itself once the service is back', async () => {
    await system.orders.start();
    const dashboard = await eventually(async () => {
      const answer = await call(`${gateway}/api/dashboard`);
      assert.equal(answer.body.data.degraded, undefined);
      return answer;
    });
    assert.equal(dashboard.body.data.total_revenue, 1549.97);
    assert.equal(await circuitState(system.gateway, 'order-service'), closed);
    assert.equal((await call(`${gateway}/api/orders`, order())).status, 201);
  });
});

describe('user-service is killed', () => {
  let system: System;

  before(async () => {
    system = await startSystem(quickCircuits);
    await eventually(async () => {
      const { text } = await call(`${system.orders.managementUrl}/metrics`);
      assert.match(text, /type="zerda.user.created.v1",outcome="applied"} 3$/m);
    });
    await system.users.kill();
  });
  after(() => system.close());

  /** An order of somebody whom no event has told of. */
  const strangersOrder = () => order('Desk', 4711);
  const ordersStored = async () => (await call(`${system.orders.url}/api/orders/stats`)).body.data.orders;

  it('makes order-service refuse an order whose user it cannot check, and store nothing', async () => {
    const answer = await call(`${system.orders.url}/api/orders`, strangersOrder());
    assert.deepEqual([answer.status, answer.body.type], [503, '/problems/dependency-unavailable']);
    assert.ok(Number(answer.headers.get('retry-after')) >= 1);
    assert.equal(await ordersStored(), 5);
  });

  it("does not open the gateway's circuit of order-service, which is well", async () => {
    for (let count = 0; count < 12; count += 1) {
      const answer = await call(`${system.gateway.url}/api/orders`, strangersOrder());
      assert.deepEqual([answer.status, answer.body.type], [503, '/problems/dependency-unavailable']);
    }
    assert.equal(await circuitState(system.gateway, 'order-service'), closed);
    assert.equal((await call(`${system.gateway.url}/api/orders`)).status, 200);
    assert.equal(await ordersStored(), 5);
  });

  it('leaves orders of users whom events have told of', async () => {
    const answer = await call(`${system.gateway.url}/api/orders`, order());
    assert.equal(answer.status, 201, answer.text);
  });

  it('knows again by itself who exists once the service is back', async () => {
    await system.users.start();
    await eventually(async () => {
      const answer = await call(`${system.gateway.url}/api/orders`, strangersOrder());
      assert.deepEqual([answer.status, answer.body.type], [422, '/problems/unknown-user'], answer.text);
    });
  });
});

describe('order-service is killed amid writes', () => {
  let system: System;

  before(async () => {
    system = await startSystem();
  });
  after(() => system.close());

  it('has every order that it acknowledged after its restart, and counts each once', async () => {
    const acknowledged: { id: number; product: string }[] = [];
    let writing = true;
    const write = async (writer: number): Promise<void> => {
      for (let count = 0; writing; count += 1) {
        const product = `order ${count} of writer ${writer}`;
        const answer: Answer | undefined = await call(
          `${system.orders.url}/api/orders`,
          order(product),
        ).catch(() => undefined);
        if (answer?.status === 201) acknowledged.push({ id: answer.body.data.id, product });
      }
    };
    const writers = Array.from({ length: 8 }, (_, writer) => write(writer));
    await eventually(() => assert.ok(acknowledged.length >= 100, `${acknowledged.length} orders`));
    await system.orders.kill();
    writing = false;
    await Promise.all(writers);
    await system.orders.start();

    const lost: string[] = [];
    for (const { id, product } of acknowledged) {
      const { status, body } = await call(`${system.orders.url}/api/orders/${id}`);
      if (status !== 200 || body.data.product !== product) lost.push(product);
    }
    assert.deepEqual(lost, []);

    // At most the writers' last orders were stored without an answer; the counters agree with the rows.
    const stored = await countRows(`${system.orders.url}/api/orders`);
    assert.ok(stored >= 5 + acknowledged.length && stored <= 5 + acknowledged.length + writers.length);
    assert.equal((await call(`${system.orders.url}/api/orders/stats`)).body.data.orders, stored);
  });
});

describe('a machine stands still', () => {
  let system: System;

  before(async () => {
    system = await startSystem();
  });
  after(() => system.close());

  const scenes: [string, () => Service[]][] = [
    ['the gateway', () => [system.gateway]],
    ['a service', () => [system.users]],
    ['everything', () => [system.users, system.orders, system.gateway]],
  ];
  for (const [who, services] of scenes) {
    it(`answers all that came while ${who} did nothing`, async () => {
      const still = services().map((service) => service.pause(stillMs));
      // Connections wait in the kernel of whoever stands still, the requests in them.
      const waiting = Array.from({ length: 20 }, () => [
        call(`${system.gateway.url}/api/users/2`),
        call(`${system.gateway.url}/api/orders`, order()),
      ]).flat();
      await Promise.all(still);
      const statuses = (await Promise.all(waiting)).map(({ status }) => status);
      assert.deepEqual(statuses, Array.from({ length: 20 }, () => [200, 201]).flat());
    });
  }
});

/** Milliseconds: longer than the gateway's event loop may be late time after time, shorter than a call may take. */
const stillMs = 1500;

async function countRows(url: string): Promise<number> {
  let rows = 0;
  let cursor = '';
  do {
    const { body } = await call(`${url}?limit=100${cursor && `&cursor=${cursor}`}`);
    rows += body.data.length;
    cursor = body.page.next ?? '';
  } while (cursor !== '');
  return rows;
}
