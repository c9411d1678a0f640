import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { entityTag, isNotModified, parseIfMatch } from './entity-tag.ts';

describe('If-Match', () => {
  it('asks for nothing when absent', () => {
    assert.equal(parseIfMatch(undefined), undefined);
  });

  it('allows the versions it names, by strong comparison', () => {
    const allows = parseIfMatch('"2", "3", W/"4"');
    assert.deepEqual(
      [1, 2, 3, 4].map((version) => allows?.(version)),
      [false, true, true, false],
    );
  });

  it('allows any version with *', () => {
    assert.equal(parseIfMatch('*')?.(7), true);
  });

  it('allows none when it is not a list of tags', () => {
    for (const header of ['', '1', '"1', '""']) assert.equal(parseIfMatch(header)?.(1), false, header);
  });
});

describe('If-None-Match', () => {
  it('is current when it names the version, weakly or strongly, or *', () => {
    for (const header of [entityTag(5), 'W/"5"', '"1", "5"', '*'])
      assert.equal(isNotModified(header, 5), true, header);
  });

  it('is not when it names another or is absent', () => {
    for (const header of ['"4"', '5', undefined]) assert.equal(isNotModified(header, 5), false, header);
  });
});
