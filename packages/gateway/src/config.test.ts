import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeVariables, loadConfig } from '@zerda/chassis/config/load-config';
import { gatewayVariables, upstreamUrlVariables, upstreamVariable } from './config.ts';
import { parseTable } from './routes/read-table.ts';
import { standardTable } from './testing.ts';

describe('configuration of the gateway', () => {
  it('starts without any variable set', () => {
    const config = loadConfig(gatewayVariables, {});
    assert.equal(config.PORT, 8000);
    assert.equal(config.MANAGEMENT_PORT, 9090);
    assert.deepEqual(loadConfig(upstreamUrlVariables(standardTable), {}), {
      USER_SERVICE_URL: 'http://127.0.0.1:8001',
      ORDER_SERVICE_URL: 'http://127.0.0.1:8002',
    });
  });

  it('describes every variable, and the unit of every number', () => {
    for (const { name, description } of describeVariables(gatewayVariables)) {
      assert.notEqual(description, '', name);
      if (name.endsWith('_MS')) assert.match(description, /Milliseconds/, name);
      if (name.endsWith('_PERCENT')) assert.match(description, /percent/, name);
    }
  });

  it('names every variable that does not fit', () => {
    assert.throws(
      () => loadConfig(gatewayVariables, { TRUSTED_PROXIES: '10.0.0.0/8, proxy', CIRCUIT_RESET_MS: 'soon' }),
      (error) => {
        assert.match(String(error), /TRUSTED_PROXIES must .*; proxy is none/);
        assert.match(String(error), /CIRCUIT_RESET_MS/);
        return true;
      },
    );
  });

  it('names the variable of an upstream after it, and requires it where the table has no address', () => {
    assert.equal(upstreamVariable('user-service'), 'USER_SERVICE_URL');
    assert.equal(upstreamVariable('price-list'), 'PRICE_LIST_SERVICE_URL');
    const table = parseTable('{ upstreams: { billing: {} }, routes: [] }', 'table');
    assert.throws(() => loadConfig(upstreamUrlVariables(table), {}), /BILLING_SERVICE_URL must be set/);
  });

  it('gives an upstream less time than a request, so that the gateway can still say why there is no answer', () => {
    const { UPSTREAM_TIMEOUT_MS, REQUEST_TIMEOUT_MS } = loadConfig(gatewayVariables, {});
    assert.ok(UPSTREAM_TIMEOUT_MS < REQUEST_TIMEOUT_MS);
  });
});
