import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createPrefix, logVariables } from './console-lines.ts';

describe('console lines', () => {
  it('begin with the service name in one column', () => {
    const prefix = createPrefix(false);
    assert.equal(prefix('gateway', 'listening'), 'gateway       | listening');
    assert.equal(prefix('order-service', 'listening'), 'order-service | listening');
  });

  it('color only the name', () => {
    assert.equal(createPrefix(true)('gateway', 'x'), '\u001b[33mgateway      \u001b[0m | x');
  });

  it('are pretty on a terminal and JSON in a pipe, unless LOG_FORMAT is set', () => {
    assert.equal(logVariables({ isTTY: true }, {}).LOG_FORMAT, 'pretty');
    assert.equal(logVariables({}, {}).LOG_FORMAT, 'json');
    assert.equal(logVariables({}, { LOG_FORMAT: 'pretty' }).LOG_FORMAT, 'pretty');
  });

  it('have no colors when NO_COLOR is set or the output is not a terminal', () => {
    assert.equal(logVariables({ isTTY: true }, {}).FORCE_COLOR, '1');
    assert.equal(logVariables({ isTTY: true }, { NO_COLOR: '1' }).FORCE_COLOR, undefined);
    assert.equal(logVariables({}, {}).FORCE_COLOR, undefined);
  });
});
