import { readFileSync } from 'node:fs';
import { Failure } from '@zerda/chassis/failure';
import { passwordLength } from '@zerda/contracts/user-service/passwords';
import { commonPasswordsFile } from '../data-files.ts';
import { comparable, openCommonPasswords, visible } from './common-passwords.ts';

/** Owner of a password. Name and e-mail address are known to others, so they are rejected as passwords. */
export interface PasswordOwner {
  readonly email: string;
  readonly name: string;
}

/** Minimum length of a part of a name or an e-mail address that is compared with the password. */
const ownerPartLength = 4;

/** Invisible characters as in `visible`, except white space, which counts as characters. */
const invisibleExceptSpace = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** Maximum number of characters added to a common password, such as a year and a sign, for which it still counts as common. */
const maxAdded = 5;

const { isCommon, isBase } = openCommonPasswords(readFileSync(commonPasswordsFile));

/**
 * Rejects a password that is easy to guess (NIST SP 800-63B, section 3.1.1.2): a common password, also with a few added characters or
 * with digits for letters, a sequence, a repetition, or the name or e-mail address of the owner. There are no composition rules.
 * Letter case, spaces, invisible characters and combining marks are ignored. Takes less than a millisecond for any valid password.
 * @throws Failure `validation-failed`
 */
export function requireUncommon(password: string, owner: PasswordOwner): void {
  const reason = weaknessOf(password, owner);
  if (reason === undefined) return;
  throw new Failure('validation-failed', { errors: [{ path: 'password', message: reason }] });
}

/** Returns why a password is easy to guess, as the predicate of a sentence; undefined if it is not. */
export function weaknessOf(password: string, { email, name }: PasswordOwner): string | undefined {
  const plain = comparable(password);
  // The contract counts all characters. Invisible characters and decomposed forms do not add to the effective length.
  if ([...password.normalize('NFKC').replaceAll(invisibleExceptSpace, '')].length < passwordLength.min)
    return `has fewer than ${passwordLength.min} visible characters`;
  if (isRepetition(visible(password).toLowerCase()) || isSequence(plain))
    return 'is a sequence or a repetition of characters';
  // Normalization expands a compatibility character to up to 18 characters. Longer results are in no list.
  if (plain.length <= passwordLength.max) {
    const signless = trim(plain, /[\p{L}\p{N}]/u);
    if (
      readings(plain).some(isCommon) ||
      (isShortAddition(plain, signless) && readings(signless).some(isCommon))
    )
      return 'is a common password';
    if (coresOf(plain, signless).some((core) => isShortAddition(plain, core) && readings(core).some(isBase)))
      return 'is a common password with a few added characters';
  }
  const localPart = email.slice(0, email.lastIndexOf('@'));
  const ownerTexts = [email, localPart, ...email.split(/[@.+_-]/), name, ...name.split(/\s+/)].map(
    comparable,
  );
  const parts = new Set(ownerTexts.filter((part) => part.length >= ownerPartLength));
  if (parts.has(plain) || parts.has(trim(plain, /\p{L}/u)))
    return 'is the name or e-mail address of the user';
  return undefined;
}

function isShortAddition(text: string, core: string): boolean {
  return text.length - core.length <= maxAdded;
}

/** Returns the text without leading or trailing non-letters, on either or both sides, and without surrounding signs. */
function coresOf(text: string, signless: string): string[] {
  const word = trim(text, /\p{L}/u);
  const start = text.indexOf(word);
  return [...new Set([text, signless, word, text.slice(start), text.slice(0, start + word.length)])];
}

/** Returns the text from the first to the last character that matches. */
function trim(text: string, pattern: RegExp): string {
  const characters = [...text];
  const first = characters.findIndex((character) => pattern.test(character));
  const last = characters.findLastIndex((character) => pattern.test(character));
  return first < 0 ? '' : characters.slice(first, last + 1).join('');
}

/** Returns the text and its variants in which digits and signs are replaced by similar letters. */
function readings(text: string): string[] {
  return [
    ...new Set([text, ...lookalikes.map((letters) => text.replace(/[^\p{L}]/gu, (it) => letters[it] ?? it))]),
  ];
}

const lookalike = { 0: 'o', 3: 'e', 4: 'a', 5: 's', 7: 't', 8: 'b', 9: 'g', '@': 'a', $: 's' };

/** `1` and `!` can stand for `i` or `l`. */
const lookalikes: readonly Readonly<Record<string, string>>[] = [
  { ...lookalike, 1: 'i', '!': 'i' },
  { ...lookalike, 1: 'l', '!': 'l' },
];

/** Returns whether the text repeats a few characters. Combining marks count, because in some scripts only they differ. */
function isRepetition(text: string): boolean {
  const distinct = new Set(text).size;
  return distinct <= 2 || (distinct <= 4 && /^(.{1,4}?)\1+.{0,3}$/su.test(text));
}

/** Returns whether the text is a sequence of the alphabet, of digits or of a keyboard row, in either direction. */
function isSequence(text: string): boolean {
  const reversed = [...text].reverse().join('');
  return sequences.some((sequence) => sequence.includes(text) || sequence.includes(reversed));
}

const sequences = [
  'abcdefghijklmnopqrstuvwxyz',
  '0123456789012345678901234567890',
  'qwertyuiopasdfghjklzxcvbnm',
  'qwertzuiopasdfghjklyxcvbnm',
  'azertyuiopqsdfghjklmwxcvbn',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm',
  '1q2w3e4r5t6y7u8i9o0p',
  'q1w2e3r4t5y6u7i8o9p0',
  'a1b2c3d4e5f6g7h8i9j0',
  '1a2b3c4d5e6f7g8h9i0j',
  'йцукенгшщзхъфывапролджэячсмитьбю',
].map(comparable);
