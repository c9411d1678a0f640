import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { planSystem, root } from './services.ts';

const plan = (env: NodeJS.ProcessEnv = {}) => {
  const { services, ...rest } = planSystem(env);
  const [users, orders, gateway] = ['user-service', 'order-service', 'gateway'].map((name) =>
    services.find((service) => service.name === name),
  );
  assert.ok(users && orders && gateway);
  return { ...rest, users, orders, gateway };
};

describe('system plan', () => {
  it('uses the ports of the specification on the loopback address', () => {
    const { users, orders, gateway } = plan();
    assert.deepEqual(
      [gateway, users, orders].map(({ url, managementUrl }) => [url, managementUrl]),
      [
        ['http://127.0.0.1:8000', 'http://127.0.0.1:9090'],
        ['http://127.0.0.1:8001', 'http://127.0.0.1:9091'],
        ['http://127.0.0.1:8002', 'http://127.0.0.1:9092'],
      ],
    );
  });

  it('passes changed ports to the other services', () => {
    const { gateway, orders } = plan({ ZERDA_USER_PORT: '18001', ZERDA_ORDER_PORT: '18002' });
    assert.equal(gateway.env.USER_SERVICE_URL, 'http://127.0.0.1:18001');
    assert.equal(gateway.env.ORDER_SERVICE_URL, 'http://127.0.0.1:18002');
    assert.equal(orders.env.USER_SERVICE_URL, 'http://127.0.0.1:18001');
  });

  it('uses the loopback address for services that listen on all addresses', () => {
    const { gateway } = plan({ ZERDA_HOST: '0.0.0.0' });
    assert.equal(gateway.env.HOST, '0.0.0.0');
    assert.equal(gateway.url, 'http://127.0.0.1:8000');
    assert.equal(plan({ ZERDA_HOST: '::' }).gateway.url, 'http://[::1]:8000');
  });

  it('makes user-service trust the gateway, but no address of other machines', () => {
    const proxies = (ZERDA_HOST?: string) => plan({ ZERDA_HOST }).users.env.TRUSTED_PROXIES;
    for (const host of [undefined, '127.0.0.1', 'localhost', '0.0.0.0', '::'])
      assert.equal(proxies(host), '127.0.0.1,::1', host);
    assert.equal(proxies('192.168.1.5'), '127.0.0.1,::1,192.168.1.5');
  });

  it('passes variables for proxies in front of the gateway only to the gateway', () => {
    const { gateway, users } = plan({ TRUSTED_PROXY_HOPS: '2' });
    assert.equal(gateway.env.TRUSTED_PROXY_HOPS, '2');
    assert.equal(users.env.TRUSTED_PROXY_HOPS, '');
    const byAddress = plan({ TRUSTED_PROXIES: '192.0.2.7' });
    assert.equal(byAddress.gateway.env.TRUSTED_PROXIES, '192.0.2.7');
    assert.equal(byAddress.users.env.TRUSTED_PROXIES, '127.0.0.1,::1');
  });

  it('does not pass PORT and DATABASE_URL of the shell to the services', () => {
    const { users, orders, gateway } = plan({ PORT: '3000', DATABASE_URL: 'postgres://elsewhere/all' });
    assert.deepEqual([users.env.PORT, orders.env.PORT, gateway.env.PORT], ['8001', '8002', '8000']);
    assert.equal(users.env.DATABASE_URL, '');
    assert.equal(users.embedded, true);
  });

  it('switches one service to PostgreSQL and keeps the other embedded', () => {
    const { users, orders, gateway } = plan({ ZERDA_ORDER_DATABASE_URL: 'postgres://localhost/orders' });
    assert.equal(orders.env.DATABASE_URL, 'postgres://localhost/orders');
    assert.deepEqual([users.embedded, orders.embedded, gateway.embedded], [true, false, false]);
  });

  it("sends events of user-service to order-service's management port, with a secret that only these two get", () => {
    const { users, orders, gateway } = plan({ ZERDA_ORDER_MANAGEMENT_PORT: '19092' });
    assert.ok(users.env.EVENT_SINKS?.split(',').includes('http://127.0.0.1:19092/events'));
    assert.equal(orders.env.EVENT_SINKS, '');
    assert.match(users.env.EVENT_SECRET ?? '', /^[0-9a-f]{64}$/);
    assert.equal(orders.env.EVENT_SECRET, users.env.EVENT_SECRET);
    assert.equal(gateway.env.EVENT_SECRET, undefined);
    assert.notEqual(plan().users.env.EVENT_SECRET, plan().users.env.EVENT_SECRET);
    assert.equal(plan({ EVENT_SECRET: 'given' }).orders.env.EVENT_SECRET, 'given');
  });

  it('disables authentication by default, and enables it in every service when AUTH is set', () => {
    const { users, orders, gateway } = plan();
    assert.deepEqual([users.env.AUTH, orders.env.AUTH, gateway.env.AUTH], ['off', 'off', 'off']);
    const required = plan({ AUTH: 'required', ZERDA_USER_PORT: '18001' });
    assert.equal(required.orders.env.AUTH, 'required');
    assert.equal(required.orders.env.AUTH_ISSUER, 'http://127.0.0.1:18001');
  });

  it('stores data in .data of the repository from any working directory, unless ZERDA_DATA_DIR is set', () => {
    assert.equal(plan().dataDir, join(root, '.data'));
    assert.equal(
      plan({ ZERDA_DATA_DIR: join(root, 'elsewhere') }).users.env.DATA_DIR,
      join(root, 'elsewhere'),
    );
  });

  it('rejects an invalid port and names its variable', () => {
    for (const value of ['http', '0', '65536', '80.5', '-1']) {
      assert.throws(() => planSystem({ ZERDA_GATEWAY_PORT: value }), {
        name: 'StartupError',
        exitCode: 78,
        message: `ZERDA_GATEWAY_PORT must be a port number from 1 to 65535, not "${value}".`,
      });
    }
  });
});
