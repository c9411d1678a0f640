import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isFailure } from '../../testing/observed.ts';
import { entityTag, isCurrent, parsePreconditions } from './entity-tag.ts';

const parse = (ifMatch?: string, ifNoneMatch?: string) => parsePreconditions({ ifMatch, ifNoneMatch });

describe('If-Match', () => {
  it('is no precondition if absent', () => {
    assert.equal(parse(), undefined);
  });

  it('allows the listed versions, by strong comparison', () => {
    const allows = parse('"2", "3", W/"4"');
    assert.deepEqual(
      [1, 2, 3, 4].map((version) => allows?.(version)),
      [false, true, true, false],
    );
  });

  it('allows any version with *', () => {
    assert.equal(parse('*')?.(7), true);
  });

  it('allows no version if it is not a list of tags', () => {
    for (const header of ['', '1', '"1', '""']) assert.equal(parse(header)?.(1), false, header);
  });
});

describe('If-None-Match', () => {
  const isRead = (ifNoneMatch: string | undefined) => isCurrent({ ifNoneMatch }, 5);

  it('makes a read current if it lists the version, weak or strong, or is *', () => {
    for (const header of [entityTag(5), 'W/"5"', '"1", "5"', '*']) assert.equal(isRead(header), true, header);
  });

  it('does not make a read current if it lists another version or is absent', () => {
    for (const header of ['"4"', '5', undefined]) assert.equal(isRead(header), false, header);
  });

  // RFC 9110, section 13.1.2.
  it('allows changes of versions that it does not list, by weak comparison, and none with *', () => {
    for (const header of ['"5"', 'W/"5"', '"1", "5"', '*'])
      assert.equal(parse(undefined, header)?.(5), false, header);
    for (const header of ['"4"', 'W/"4"', '5', '']) assert.equal(parse(undefined, header)?.(5), true, header);
  });
});

// RFC 9110, section 13.2.2.
describe('If-Match and If-None-Match together', () => {
  it('allow a change only if both match', () => {
    assert.deepEqual(
      [parse('"5"', '"4"')?.(5), parse('"5"', '"5"')?.(5), parse('"4"', '"3"')?.(5), parse('*', '*')?.(5)],
      [true, false, false, false],
    );
  });

  it('are evaluated in this order for a read', () => {
    assert.equal(isCurrent({ ifMatch: '"5"', ifNoneMatch: '"5"' }, 5), true);
    assert.throws(
      () => isCurrent({ ifMatch: '"4"', ifNoneMatch: '"5"' }, 5),
      isFailure('precondition-failed'),
    );
  });
});
