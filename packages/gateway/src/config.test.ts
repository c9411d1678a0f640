import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeVariables, loadConfig } from '@zerda/chassis/config/load-config';
import { defaultTable } from '../testing/gateway.ts';
import { requireMeshHosts, upstreamUrlVariables, upstreamVariable, variables } from './config.ts';
import { parseTable } from './routes/read-table.ts';

describe('configuration of the gateway', () => {
  it('starts without any variable set', () => {
    const config = loadConfig(variables, {});
    assert.equal(config.PORT, 8000);
    assert.equal(config.MANAGEMENT_PORT, 9090);
    assert.deepEqual(loadConfig(upstreamUrlVariables(defaultTable), {}), {
      USER_SERVICE_URL: 'http://127.0.0.1:8001',
      ORDER_SERVICE_URL: 'http://127.0.0.1:8002',
    });
  });

  it('describes every variable, and the unit of every number', () => {
    for (const { name, description } of describeVariables(variables)) {
      assert.notEqual(description, '', name);
      if (name.endsWith('_MS')) assert.match(description, /milliseconds/i, name);
      if (name.endsWith('_PERCENT')) assert.match(description, /percent/i, name);
    }
  });

  it('reports every invalid variable', () => {
    assert.throws(
      () => loadConfig(variables, { TRUSTED_PROXIES: '10.0.0.0/8, proxy', CIRCUIT_RESET_MS: 'soon' }),
      (error) => {
        assert.match(String(error), /TRUSTED_PROXIES must .*; proxy is not valid/);
        assert.match(String(error), /CIRCUIT_RESET_MS/);
        return true;
      },
    );
  });

  it('derives the variable from the name of the upstream and requires it when the table has no URL', () => {
    assert.equal(upstreamVariable('user-service'), 'USER_SERVICE_URL');
    assert.equal(upstreamVariable('price-list'), 'PRICE_LIST_SERVICE_URL');
    const table = parseTable('{ upstreams: { billing: {} }, routes: [] }', 'table');
    assert.throws(() => loadConfig(upstreamUrlVariables(table), {}), /BILLING_SERVICE_URL must be set/);
  });

  it('rejects host: caller for an http upstream in a service mesh', () => {
    const table = parseTable('{ upstreams: { shop: { host: caller }, api: {} }, routes: [] }', 'table');
    const check = (url: string, SERVICE_MESH: 'none' | 'istio') =>
      requireMeshHosts(table, { SHOP_SERVICE_URL: url, API_SERVICE_URL: 'http://api' }, { SERVICE_MESH });
    assert.throws(() => check('http://shop', 'istio'), {
      exitCode: 78,
      message: /Host header.* to: shop\. Remove/,
    });
    check('http://shop', 'none');
    check('https://shop.example.com', 'istio');
  });

  it('gives upstreams less time than requests, so that the gateway can respond when an upstream times out', () => {
    const { UPSTREAM_TIMEOUT_MS, REQUEST_TIMEOUT_MS } = loadConfig(variables, {});
    assert.ok(UPSTREAM_TIMEOUT_MS < REQUEST_TIMEOUT_MS);
  });
});
