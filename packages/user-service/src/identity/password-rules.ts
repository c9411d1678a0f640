import { readFileSync } from 'node:fs';
import { Failure } from '@zerda/chassis/failure';
import { passwordLength } from '@zerda/contracts/passwords';
import { commonPasswordsFile } from '../data-files.ts';
import { comparable, openCommonPasswords, visible } from './common-passwords.ts';

/** The user whose password it is: their name and e-mail address are known, so they are no password. */
export interface PasswordOwner {
  readonly email: string;
  readonly name: string;
}

/** Characters from which on a part of a name or of an e-mail address counts. */
const ownerPartLength = 4;

/** As `visible` has it, but for white space, which counts as characters. */
const unseen = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/gu;

/** Characters that can be added to one of the commonest passwords without making it another one: a year and a sign. */
const maxAdded = 5;

const { isCommon, isBase } = openCommonPasswords(readFileSync(commonPasswordsFile));

/**
 * Rejects a password that is guessed first: one that is common, with a few characters added or with digits for letters, a row or a
 * repetition, or the name or e-mail address of its owner (NIST SP 800-63B, section 3.1.1.2). It asks nothing of the composition.
 * Letter case, spaces, invisible characters and marks make no difference. Takes less than a millisecond for any password that the
 * contract accepts.
 * @throws Failure `validation-failed`
 */
export function requireUncommon(password: string, owner: PasswordOwner): void {
  const reason = weaknessOf(password, owner);
  if (reason === undefined) return;
  throw new Failure('validation-failed', { errors: [{ path: 'password', message: reason }] });
}

/** Why a password is guessed first, as the end of a sentence that begins with it; undefined when it is not. */
export function weaknessOf(password: string, { email, name }: PasswordOwner): string | undefined {
  const plain = comparable(password);
  // The contract counts what is sent; what is not seen, or is composed to fewer characters, makes no password longer.
  if ([...password.normalize('NFKC').replaceAll(unseen, '')].length < passwordLength.least)
    return `has fewer than ${passwordLength.least} visible characters`;
  if (isRepetition(visible(password).toLowerCase()) || isRow(plain))
    return 'is a row or a repetition of characters';
  // Compatibility characters can become many, up to 18 each: what is longer then is in no list.
  if (plain.length <= passwordLength.most) {
    const signless = trim(plain, /[\p{L}\p{N}]/u);
    if (readings(plain).some(isCommon) || (added(plain, signless) && readings(signless).some(isCommon)))
      return 'is among the commonest passwords';
    if (coresOf(plain, signless).some((core) => added(plain, core) && readings(core).some(isBase)))
      return 'is one of the commonest passwords with a few characters added';
  }
  const localPart = email.slice(0, email.lastIndexOf('@'));
  const known = [email, localPart, ...email.split(/[@.+_-]/), name, ...name.split(/\s+/)].map(comparable);
  const parts = new Set(known.filter((part) => part.length >= ownerPartLength));
  if (parts.has(plain) || parts.has(trim(plain, /\p{L}/u))) return "is the user's own name or e-mail address";
  return undefined;
}

function added(text: string, core: string): boolean {
  return text.length - core.length <= maxAdded;
}

/** What is left of a text without what is around its letters, on either side, or around its letters and digits. */
function coresOf(text: string, signless: string): string[] {
  const word = trim(text, /\p{L}/u);
  const start = text.indexOf(word);
  return [...new Set([text, signless, word, text.slice(start), text.slice(0, start + word.length)])];
}

/** A text from the first to the last character that matches. */
function trim(text: string, pattern: RegExp): string {
  const characters = [...text];
  const first = characters.findIndex((character) => pattern.test(character));
  const last = characters.findLastIndex((character) => pattern.test(character));
  return first < 0 ? '' : characters.slice(first, last + 1).join('');
}

/** A text as it is, and with the digits and signs in it read as the letters that they look like. */
function readings(text: string): string[] {
  return [
    ...new Set([text, ...lookalikes.map((letters) => text.replace(/[^\p{L}]/gu, (it) => letters[it] ?? it))]),
  ];
}

const lookalike = { 0: 'o', 3: 'e', 4: 'a', 5: 's', 7: 't', 8: 'b', 9: 'g', '@': 'a', $: 's' };

/** One and the exclamation mark stand for two letters. */
const lookalikes: readonly Readonly<Record<string, string>>[] = [
  { ...lookalike, 1: 'i', '!': 'i' },
  { ...lookalike, 1: 'l', '!': 'l' },
];

/** The same few characters again and again. Marks count here: in some scripts they are all that differs. */
function isRepetition(text: string): boolean {
  const different = new Set(text).size;
  return different <= 2 || (different <= 4 && /^(.{1,4}?)\1+.{0,3}$/su.test(text));
}

/** Characters that follow one another, up or down, in the alphabet or as digits, or lie in a row on a keyboard. */
function isRow(text: string): boolean {
  const backwards = [...text].reverse().join('');
  return rows.some((row) => row.includes(text) || row.includes(backwards));
}

const rows = [
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
