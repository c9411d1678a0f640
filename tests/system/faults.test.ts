import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type HttpRequest, type HttpResponse, sendRequest } from '../../packages/chassis/testing/http.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { readSample } from '../kit/metrics.ts';
import { type Service, type System, startSystem } from '../kit/system.ts';

/** Circuits that open and probe quickly, to keep the tests short. */
const quickCircuits = { CIRCUIT_VOLUME: '5', CIRCUIT_WINDOW_MS: '1000', CIRCUIT_RESET_MS: '1000' };

const closed = 0;
const open = 2;

const circuitState = (service: Service, circuit: string): Promise<number> =>
  readSample(service.managementUrl, `circuit_breaker_state{circuit="${circuit}"}`);

const order = (product = 'Desk', userId = 2): HttpRequest => ({
  method: 'POST',
  json: { user_id: userId, product, quantity: 1, total: 10 },
});

describe('a system with quick circuits', () => {
  let system: System;

  before(async () => {
    system = await startSystem(quickCircuits);
  });
  after(() => system.close());

  describe('while user-service is down', () => {
    before(async () => {
      await eventually(async () => {
        const { text } = await sendRequest(`${system.orders.managementUrl}/metrics`);
        assert.match(text, /type="zerda.user.created.v1",outcome="applied"} 3$/m);
      });
      await system.users.kill();
    });

    /** An order of a user that order-service does not know from events. */
    const unknownUserOrder = () => order('Desk', 4711);
    const countOrders = async () =>
      (await sendRequest(`${system.orders.url}/api/orders/stats`)).body.data.orders;

    it('order-service returns 503 for an order whose user it cannot verify, and stores nothing', async () => {
      const response = await sendRequest(`${system.orders.url}/api/orders`, unknownUserOrder());
      assert.deepEqual([response.status, response.body.type], [503, '/problems/dependency-unavailable']);
      assert.ok(Number(response.headers['retry-after']) >= 1);
      assert.equal(await countOrders(), 5);
    });

    it('the 503 responses do not open the circuit of order-service', async () => {
      for (let count = 0; count < 12; count += 1) {
        const response = await sendRequest(`${system.gateway.url}/api/orders`, unknownUserOrder());
        assert.deepEqual([response.status, response.body.type], [503, '/problems/dependency-unavailable']);
      }
      assert.equal(await circuitState(system.gateway, 'order-service'), closed);
      assert.equal((await sendRequest(`${system.gateway.url}/api/orders`)).status, 200);
      assert.equal(await countOrders(), 5);
    });

    it('users known from events can place orders', async () => {
      const response = await sendRequest(`${system.gateway.url}/api/orders`, order());
      assert.equal(response.status, 201, response.text);
    });

    it('order-service verifies users again after user-service has restarted', async () => {
      await system.users.start();
      await eventually(async () => {
        const response = await sendRequest(`${system.gateway.url}/api/orders`, unknownUserOrder());
        assert.deepEqual(
          [response.status, response.body.type],
          [422, '/problems/unknown-user'],
          response.text,
        );
      });
    });
  });

  describe('while order-service is down', () => {
    let gateway: string;

    before(async () => {
      gateway = system.gateway.url;
      await untilHealthy(gateway);
      await system.orders.kill();
    });

    it('dashboard and profile respond with partial data and list the missing part', async () => {
      const dashboard = await sendRequest(`${gateway}/api/dashboard`);
      assert.equal(dashboard.status, 200, dashboard.text);
      assert.deepEqual([dashboard.body.data.total_users, dashboard.body.data.total_orders], [3, null]);
      const profile = await sendRequest(`${gateway}/api/users/1/profile`);
      assert.equal(profile.status, 200, profile.text);
      assert.deepEqual([profile.body.data.user.name, profile.body.data.orders], ['Alice Johnson', null]);
      for (const { body } of [dashboard, profile]) {
        assert.equal(body.data.degraded.length, 1);
        assert.equal(body.data.degraded[0].part, 'orders');
      }
      const health = await sendRequest(`${gateway}/api/health`);
      assert.equal(health.body.data.overall_status, 'degraded');
      assert.equal(health.body.data.services.order_service.status, 'unhealthy');
    });

    it('the circuit opens and calls fail without an attempt', async () => {
      await eventually(async () => {
        await sendRequest(`${gateway}/api/orders`);
        assert.equal(await circuitState(system.gateway, 'order-service'), open);
      });
      const rejected = await eventually(async () => {
        const response = await sendRequest(`${gateway}/api/orders`, order());
        assert.deepEqual([response.status, response.body.type], [503, '/problems/upstream-unavailable']);
        return response;
      });
      assert.ok(Number(rejected.headers['retry-after']) >= 1);
      // One call after each reset time is a probe, which fails with another reason.
      await eventually(async () => {
        const { body } = await sendRequest(`${gateway}/api/dashboard`);
        assert.deepEqual(body.data.degraded, [{ part: 'orders', reason: 'circuit_open' }]);
      });
    });

    it('requests to user-service succeed', async () => {
      assert.equal((await sendRequest(`${gateway}/api/users/1`)).status, 200);
      assert.equal(await circuitState(system.gateway, 'user-service'), closed);
    });

    it('the circuit closes after the service has restarted', async () => {
      await system.orders.start();
      const dashboard = await untilHealthy(gateway);
      assert.equal(dashboard.body.data.total_revenue, 1549.97);
      assert.equal(await circuitState(system.gateway, 'order-service'), closed);
      assert.equal((await sendRequest(`${gateway}/api/orders`, order())).status, 201);
    });
  });
});

describe('a system with default settings', () => {
  let system: System;

  before(async () => {
    system = await startSystem();
  });
  after(() => system.close());

  describe('when order-service is killed during writes', () => {
    it('it has every acknowledged order after the restart, and counts each once', async () => {
      const acknowledged: { id: number; product: string }[] = [];
      let writing = true;
      const write = async (writer: number): Promise<void> => {
        for (let count = 0; writing; count += 1) {
          const product = `order ${count} of writer ${writer}`;
          const response: HttpResponse | undefined = await sendRequest(
            `${system.orders.url}/api/orders`,
            order(product),
          ).catch(() => undefined);
          if (response?.status === 201) acknowledged.push({ id: response.body.data.id, product });
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
        const { status, body } = await sendRequest(`${system.orders.url}/api/orders/${id}`);
        if (status !== 200 || body.data.product !== product) lost.push(product);
      }
      assert.deepEqual(lost, []);

      // Only the last order of each writer can be stored without a response. The counters equal the number of rows.
      const stored = await countRows(`${system.orders.url}/api/orders`);
      assert.ok(stored >= 5 + acknowledged.length && stored <= 5 + acknowledged.length + writers.length);
      assert.equal((await sendRequest(`${system.orders.url}/api/orders/stats`)).body.data.orders, stored);
    });
  });

  describe('when processes are suspended', () => {
    before(() => untilHealthy(system.gateway.url));

    const suspensions: [string, () => Service[]][] = [
      ['the gateway', () => [system.gateway]],
      ['a service', () => [system.users]],
      ['everything', () => [system.users, system.orders, system.gateway]],
    ];
    for (const [name, services] of suspensions) {
      it(`responds to all requests sent while ${name} was suspended`, async () => {
        const pauses = services().map((service) => service.pause(suspendedMs));
        // The kernel accepts the connections and buffers the requests.
        const waiting = Array.from({ length: 20 }, () => [
          sendRequest(`${system.gateway.url}/api/users/2`),
          sendRequest(`${system.gateway.url}/api/orders`, order()),
        ]).flat();
        await Promise.all(pauses);
        const statuses = (await Promise.all(waiting)).map(({ status }) => status);
        assert.deepEqual(statuses, Array.from({ length: 20 }, () => [200, 201]).flat());
      });
    }
  });
});

/** Waits until the gateway reaches both services, and returns the dashboard. */
function untilHealthy(gateway: string): Promise<HttpResponse> {
  return eventually(async () => {
    const response = await sendRequest(`${gateway}/api/dashboard`);
    assert.equal(response.body.data.degraded, undefined, response.text);
    return response;
  });
}

/** Milliseconds of a suspension: longer than the event loop delay at which the gateway sheds load, shorter than the call timeout. */
const suspendedMs = 1500;

async function countRows(url: string): Promise<number> {
  let rows = 0;
  let cursor = '';
  do {
    const { body } = await sendRequest(`${url}?limit=100${cursor && `&cursor=${cursor}`}`);
    rows += body.data.length;
    cursor = body.page.next ?? '';
  } while (cursor !== '');
  return rows;
}
