import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createPrefix, logVariables } from './console-lines.ts';

describe('lines on the console', () => {
  it('put the name of the service first, in one column', () => {
    const prefix = createPrefix(false);
    assert.equal(prefix('gateway', 'listening'), 'gateway       | listening');
    assert.equal(prefix('order-service', 'listening'), 'order-service | listening');
  });

  it('colour the name alone', () => {
    assert.equal(createPrefix(true)('gateway', 'x'), '\u001b[33mgateway      \u001b[0m | x');
  });

  it('are pretty on a terminal, JSON in a pipe, and as LOG_FORMAT says in both', () => {
    assert.equal(logVariables({ isTTY: true }, {}).LOG_FORMAT, 'pretty');
    assert.equal(logVariables({}, {}).LOG_FORMAT, 'json');
    assert.equal(logVariables({}, { LOG_FORMAT: 'pretty' }).LOG_FORMAT, 'pretty');
  });

  it('carry no colour when NO_COLOR is set or nobody looks', () => {
    assert.equal(logVariables({ isTTY: true }, {}).FORCE_COLOR, '1');
    assert.equal(logVariables({ isTTY: true }, { NO_COLOR: '1' }).FORCE_COLOR, undefined);
    assert.equal(logVariables({}, {}).FORCE_COLOR, undefined);
  });
});
