import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findWords } from '../../scripts/checks/language.ts';

describe('the language check', () => {
  for (const [name, text] of [
    ['a comment', '// Whoever asks is told when to come back.'],
    ['a sentence of a page', 'Somebody is let in.'],
    ['a message', "throw new Failure('login-overloaded', { detail: 'Nobody answers.' });"],
    ['an identifier', 'const answer = await call();'],
    ['British spelling', 'The behaviour of the gateway.'],
    ['grouped members', '  ...{ host, port },'],
  ] as const)
    it(`reports ${name}`, () => {
      assert.match(findWords('a.ts', `\n${text}\n`).join('\n'), /^a\.ts:2: "/);
    });

  it('accepts plain sentences and values of the API', () => {
    const text = `
      // The gateway rejects requests above the limit with 429.
      if (order.status === 'cancelled') return conflict();
      answer: { user: { from: user } }
      return { ...defaults, host };`;
    assert.deepEqual(findWords('a.ts', text), []);
  });
});
