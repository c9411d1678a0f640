import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeVariables, loadConfig } from '@zerda/chassis/config/load-config';
import { gatewayVariables } from './config.ts';

describe('configuration of the gateway', () => {
  it('starts without any variable set', () => {
    const config = loadConfig(gatewayVariables, {});
    assert.equal(config.PORT, 8000);
    assert.equal(config.MANAGEMENT_PORT, 9090);
    assert.equal(config.USER_SERVICE_URL, 'http://127.0.0.1:8001');
    assert.equal(config.ORDER_SERVICE_URL, 'http://127.0.0.1:8002');
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
      () => loadConfig(gatewayVariables, { USER_SERVICE_URL: 'users:8001', CIRCUIT_RESET_MS: 'soon' }),
      (error) => {
        assert.match(String(error), /USER_SERVICE_URL/);
        assert.match(String(error), /CIRCUIT_RESET_MS/);
        return true;
      },
    );
  });

  it('gives an upstream less time than a request, so that the gateway can still say why there is no answer', () => {
    const { UPSTREAM_TIMEOUT_MS, REQUEST_TIMEOUT_MS } = loadConfig(gatewayVariables, {});
    assert.ok(UPSTREAM_TIMEOUT_MS < REQUEST_TIMEOUT_MS);
  });
});
