import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createPrefix, logVariables } from './console-lines.ts';
import { services } from './services.ts';

describe('console lines', () => {
  it('begin with the service name in one column', () => {
    const prefix = createPrefix(false);
    const lines = services.map(({ name }) => prefix(name, 'listening'));
    for (const [index, line] of lines.entries())
      assert.match(line, new RegExp(`^${services[index]?.name} *\\| listening$`));
    assert.equal(new Set(lines.map((line) => line.indexOf('|'))).size, 1);
  });

  it('color only the name', () => {
    const [name, rest] = createPrefix(true)('gateway', 'x').split('\u001b[0m');
    assert.equal(name?.slice(5).trimEnd(), 'gateway');
    assert.ok(name?.startsWith('\u001b[3'));
    assert.equal(rest, ' | x');
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
