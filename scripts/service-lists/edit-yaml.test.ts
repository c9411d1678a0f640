import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addEntry, addItem, readEntry, readItem, removeEntry, removeItem, removeItems } from './edit-yaml.ts';

const text = `# Comment of the file.
x-common: &common {a: 1}

services:
  # The first one.
  one:
    <<: *common
    list: [a, b] # of letters

  two: {c: 2}

# Comment of volumes.
volumes:
  one:
  two:
blocks:
  - {name: one}
  - name: two
    value: 2
wide:
  {
    a: 1,
    b: 2,
  }
`;

/** Asserts that an addition changes only these lines, and that the removal restores the text. */
function assertReversible(added: string, lines: readonly string[], removed: (text: string) => string): void {
  const before = text.split('\n');
  const after = added.split('\n');
  const newLines = after.filter((line) => !before.includes(line));
  assert.deepEqual(newLines, lines);
  assert.equal(after.length - before.length <= lines.length + 1, true);
  assert.equal(removed(added), text);
}

describe('edits of YAML', () => {
  it('add and remove an entry of a block', () => {
    assertReversible(addEntry(text, ['services'], '\nthree:\n  d: 3'), ['  three:', '    d: 3'], (changed) =>
      removeEntry(changed, ['services'], 'three'),
    );
    assertReversible(addEntry(text, ['services'], 'three: {d: 3}', 'two'), ['  three: {d: 3}'], (changed) =>
      removeEntry(changed, ['services'], 'three'),
    );
    assertReversible(addEntry(text, ['volumes'], 'three:'), ['  three:'], (changed) =>
      removeEntry(changed, ['volumes'], 'three'),
    );
    assertReversible(addEntry(text, ['services', 'one'], 'env: {}'), ['    env: {}'], (changed) =>
      removeEntry(changed, ['services', 'one'], 'env'),
    );
  });

  it('add and remove an entry of a map in braces', () => {
    assertReversible(addEntry(text, ['services', 'two'], 'd: 3'), ['  two: {c: 2, d: 3}'], (changed) =>
      removeEntry(changed, ['services', 'two'], 'd'),
    );
    assertReversible(addEntry(text, ['wide'], 'c: 3'), ['    c: 3,'], (changed) =>
      removeEntry(changed, ['wide'], 'c'),
    );
  });

  it('add and remove items of lists', () => {
    assertReversible(
      addItem(text, ['services', 'one', 'list'], 'c'),
      ['    list: [a, b, c] # of letters'],
      (changed) => removeItem(changed, ['services', 'one', 'list'], 'c'),
    );
    assertReversible(
      addItem(text, ['blocks'], 'name: three\nvalue: 3'),
      ['  - name: three', '    value: 3'],
      (changed) => removeItem(changed, ['blocks'], 'three'),
    );
  });

  it('tell a name from longer ones', () => {
    const names = 'names: [pay, payments, pre-pay]\n';
    assert.equal(removeItem(names, ['names'], 'pay'), 'names: [payments, pre-pay]\n');
    const removed = removeItems<string>(names, ['names'], (name) => name.startsWith('p'));
    assert.equal(removed, 'names: []\n');
  });

  it('remove the first item of a list', () => {
    assert.match(removeItem(text, ['services', 'one', 'list'], 'a'), /list: \[b\] # of letters/);
  });

  it('keep comments with the entry below them', () => {
    assertReversible(
      addEntry(text, [], '\n# Comment of secrets.\nsecrets: {}', 'volumes'),
      ['# Comment of secrets.', 'secrets: {}'],
      (changed) => removeEntry(changed, [], 'secrets'),
    );
    assert.ok(
      addEntry(text, [], '\nsecrets: {}', 'volumes').includes(
        'secrets: {}\n\n# Comment of volumes.\nvolumes:',
      ),
    );
  });

  it('read an entry or an item as text', () => {
    assert.equal(
      readEntry(text, ['services'], 'one'),
      '# The first one.\none:\n  <<: *common\n  list: [a, b] # of letters',
    );
    assert.equal(readItem(text, ['blocks'], 'two'), 'name: two\nvalue: 2');
  });

  it('reject what does not fit', () => {
    assert.throws(() => addEntry(text, ['services'], 'one: {}'), /services\.one exists/);
    assert.throws(() => addEntry(text, ['blocks'], 'a: 1'), /blocks is not a map/);
    assert.throws(() => removeEntry(text, ['services'], 'four'), /services has no entry four/);
    assert.throws(() => removeItem(text, ['blocks'], 'name'), /blocks has 2 items with name/);
    assert.throws(() => addItem(text, ['volumes'], 'a'), /volumes is not a list/);
  });
});
