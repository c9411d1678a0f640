import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isFailure } from '../../testing/observed.ts';
import { parseExactJson } from './exact-json.ts';

const assertRejected = (text: string) =>
  assert.throws(() => parseExactJson(text), isFailure('invalid-request'), text.slice(0, 80));

// RFC 8259, section 6: implementations agree on numbers within the range and precision of IEEE 754 binary64.
describe('parseExactJson', () => {
  it('rejects a number that a double cannot represent exactly', () => {
    for (const number of [
      '1.0000000000000000001',
      '12345678901234567890',
      '9007199254740993',
      '-9007199254740993',
      '1e400',
      '-1e400',
      '1e-400',
      '4.9e-324000',
      '0.10000000000000000001',
      '1.00000000000000000000000000000000000000000000001e5',
      '1e99999999999999999999',
      '123456789012345678e-17',
    ]) {
      assertRejected(number);
      assertRejected(`{"a":["x",{"b":${number}}]}`);
    }
  });

  it('accepts every notation of a number that a double represents exactly', () => {
    for (const [text, value] of [
      ['1.10', 1.1],
      ['1.00000000000000000000000', 1],
      ['10000000000000000000000', 1e22],
      ['1E2', 100],
      ['1e+2', 100],
      ['100e-2', 1],
      ['0e99999999999', 0],
      ['0.0000000000000000000000', 0],
      ['-0', -0],
      ['9007199254740992', 2 ** 53],
      ['5e-324', 5e-324],
      ['1.7976931348623157e308', Number.MAX_VALUE],
    ] as const)
      assert.equal(parseExactJson(text), value, text);
  });

  it('parses all JSON that JavaScript writes, including strings with digits', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        assert.deepEqual(parseExactJson(text), JSON.parse(text));
      }),
    );
    const tricky = { '1e400': '1.0000000000000000001', '\\"': '"12345678901234567890', '\\': '\\"1e400' };
    assert.deepEqual(parseExactJson(JSON.stringify(tricky)), tricky);
  });

  it('takes linear time for hostile text', () => {
    const startedAt = performance.now();
    for (const text of [
      `"${'\\"'.repeat(50_000)}"`,
      `1.${'0'.repeat(100_000)}`,
      `1e${'0'.repeat(100_000)}`,
      `[${'1,'.repeat(50_000)}1]`,
    ])
      parseExactJson(text);
    assertRejected(`1e${'9'.repeat(100_000)}`);
    assertRejected(`1e-${'9'.repeat(100_000)}`);
    assertRejected('1'.repeat(100_000));
    assertRejected(`0.${'1'.repeat(100_000)}`);
    assert.ok(performance.now() - startedAt < 500);
  });
});
