import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { Failure } from '../../packages/chassis/src/failure.ts';
import { newPassword } from '../../packages/contracts/src/user-service/passwords.ts';
import { requireUncommon } from '../../packages/user-service/src/identity/password-rules.ts';
import { leakedPasswords, rankedPasswords } from '../../scripts/checks/common-passwords.ts';

const owner = { email: 'grace.hopper@navy.example', name: 'Grace Hopper' };

/** Whether both the contract and the password rules accept a password, as in a request. */
function isAccepted(password: string): boolean {
  const { success, data } = newPassword.safeParse(password);
  if (!success) return false;
  try {
    requireUncommon(data, owner);
    return true;
  } catch (error) {
    if (error instanceof Failure) return false;
    throw error;
  }
}

const longEnough = (password: string): boolean => password.length >= 8;
const mostCommon = rankedPasswords().filter(longEnough).slice(0, 3000);
assert.equal(mostCommon.length, 3000);

const insert = (text: string) => (password: string) => `${password.slice(0, 3)}${text}${password.slice(3)}`;

/** Ways to write a common password so that a plain comparison does not recognize it. */
const disguises: Readonly<Record<string, (password: string) => string>> = {
  unchanged: (password) => password,
  'in upper case': (password) => password.toUpperCase(),
  'with a capital letter': (password) => password.charAt(0).toUpperCase() + password.slice(1),
  'with spaces around them': (password) => `  ${password}\u00a0`,
  'with a space in them': insert(' '),
  'with U+200B': insert('\u200b'),
  'with U+200C': insert('\u200c'),
  'with U+200D': insert('\u200d'),
  'with U+2060': insert('\u2060'),
  'with U+FEFF': insert('\ufeff'),
  'with U+00AD': insert('\u00ad'),
  'with U+034F': insert('\u034f'),
  'with U+3164': insert('\u3164'),
  'with U+202E': insert('\u202e'),
  'with variation selectors': insert('\ufe0f\u{e0101}'),
  'with tags': insert('\u{e0061}'),
  'with a control character': insert('\u0007'),
  'with an invisible character between all characters': (password) => [...password].join('\u200d'),
  'in full-width forms': (password) =>
    password.replace(/[!-~]/g, (character) => String.fromCodePoint(character.charCodeAt(0) + 0xfee0)),
  'in mathematical letters': (password) =>
    password.replace(/[a-z]/g, (letter) => String.fromCodePoint(0x1d41a + letter.charCodeAt(0) - 97)),
  'with composed marks': (password) => password.replaceAll('a', '\u00e1').replaceAll('o', '\u00f6'),
  'with combining marks': (password) => password.replaceAll('a', 'a\u0301').replaceAll('o', 'o\u0308'),
  'with a sign at the end': (password) => `${password}!`,
};

describe('the 3,000 most common passwords of 8 and more characters', () => {
  for (const [name, disguise] of Object.entries(disguises)) {
    it(`are rejected ${name}`, () => {
      assert.deepEqual(
        mostCommon.filter((password) => isAccepted(disguise(password))),
        [],
      );
    });
  }
});

it('the 100,000 most common passwords of 8 and more characters are rejected', () => {
  const sample = rankedPasswords()
    .filter(longEnough)
    .slice(0, 100_000)
    .filter((_, index) => index % 10 === 0);
  assert.equal(sample.length, 10_000);
  assert.deepEqual(sample.filter(isAccepted), []);
});

it('leaked passwords of the other lists are rejected', () => {
  const sample = leakedPasswords().filter((password, index) => longEnough(password) && index % 20 === 0);
  assert.ok(sample.length > 9_000);
  assert.deepEqual(sample.filter(isAccepted), []);
});

describe('2,000 random passwords are all accepted', () => {
  const words = [...new Set(rankedPasswords().filter((word) => /^[a-z]{4,8}$/.test(word)))].slice(0, 16_384);
  const ascii = String.fromCodePoint(...Array.from({ length: 94 }, (_, index) => 33 + index));

  /** Returns `count` indexes below `size`, the same in each run. */
  function pick(seed: string, count: number, size: number): number[] {
    const digest = createHash('shake256', { outputLength: count * 4 })
      .update(seed)
      .digest();
    return Array.from({ length: count }, (_, index) => digest.readUInt32LE(index * 4) % size);
  }
  const from = (alphabet: string, count: number) => (seed: string) =>
    pick(seed, count, [...alphabet].length)
      .map((index) => [...alphabet][index])
      .join('');

  const kinds: Readonly<Record<string, (seed: string) => string>> = {
    'of four words': (seed) =>
      pick(seed, 4, words.length)
        .map((index) => words[index])
        .join(' '),
    'of three words': (seed) =>
      pick(seed, 3, words.length)
        .map((index) => words[index])
        .join('-'),
    'of 10 letters and digits': from('abcdefghijklmnopqrstuvwxyz0123456789', 10),
    'of 12 characters': from(ascii, 12),
    'of 32 hexadecimal digits': from('0123456789abcdef', 32),
    'of 128 characters': from(ascii, 128),
    'of 12 Cyrillic letters': from('абвгдежзийклмнопрстуфхцчшщъыьэюя', 12),
    'of 8 Chinese characters': (seed) =>
      String.fromCodePoint(...pick(seed, 8, 20_000).map((index) => 0x4e00 + index)),
    'of 10 Thai letters and marks': (seed) =>
      String.fromCodePoint(0xe01, ...pick(seed, 9, 58).map((index) => 0xe01 + index)),
  };
  for (const [name, make] of Object.entries(kinds)) {
    it(name, () => {
      const passwords = Array.from({ length: 2000 }, (_, index) => make(`${name} ${index}`));
      assert.deepEqual(
        passwords.filter((password) => !isAccepted(password)),
        [],
      );
    });
  }
});

it('checking a password takes less than 10 ms for any kind of characters', () => {
  const slow = ['\ufdfa', '\u200b', 'a\u0301', '1', '4@', 'ab', 'aaab', '🦊', '1a', '!1|', 'password'].map(
    (part) => [...part.repeat(128)].slice(0, 127).join(''),
  );
  const start = performance.now();
  for (let round = 0; round < 20; round++) for (const password of slow) isAccepted(`${password}z`);
  const each = (performance.now() - start) / (20 * slow.length);
  assert.ok(each < 10, `${each} ms`);
});
