import assert from 'node:assert/strict';
import { it } from 'node:test';
import { readCommand } from './run-service.ts';

it('a service serves unless it is told to migrate, and refuses what it does not know', () => {
  assert.equal(readCommand([]), 'serve');
  assert.equal(readCommand(['serve']), 'serve');
  assert.equal(readCommand(['migrate']), 'migrate');
  for (const words of [['Migrate'], ['migrate', 'now'], ['']])
    assert.throws(() => readCommand(words), { name: 'StartupError', exitCode: 78 });
  assert.equal(readCommand(['events', 'dead-letters', 'list']), 'events');
  assert.equal(readCommand(['keys', 'rotate'], ['keys']), 'keys');
  assert.throws(() => readCommand(['keys', 'rotate']), { exitCode: 78 });
});
