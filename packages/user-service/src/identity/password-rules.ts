import { Failure } from '@zerda/chassis/failure';
import { commonWords } from './common-passwords.ts';

/** Whose password it is: what of them everybody knows is no password. */
export interface PasswordOwner {
  readonly email: string;
  readonly name: string;
}

/** Characters of a part of a name or address from which on it counts. */
const tellingLength = 4;

/**
 * Refuses a password that is tried first: one that is common, a row or a repetition, or made of what everybody knows of its owner
 * (NIST SP 800-63B, section 3.1.1.2). Nothing is asked of its composition.
 * @throws Failure `validation-failed`
 */
export function requireUncommon(password: string, owner: PasswordOwner): void {
  const reason = weaknessOf(password, owner);
  if (reason === undefined) return;
  throw new Failure('validation-failed', { errors: [{ path: 'password', message: reason }] });
}

function weaknessOf(password: string, { email, name }: PasswordOwner): string | undefined {
  const plain = plainOf(password);
  const core = plain.replace(/^[\d\W_]+|[\d\W_]+$/gu, '');
  if (commonWords.has(core) || commonWords.has(lettersFor(plain)) || commonWords.has(lettersFor(core)))
    return 'is among the commonest passwords';
  if (isRepetition(plain) || isRow(plain)) return 'is a row or a repetition of characters';
  const known = [email, ...email.split(/[@.+_-]/), name, ...name.split(/\s+/)].map(plainOf);
  const wholes = new Set(known.filter((word) => word.length >= tellingLength));
  if (wholes.has(plain) || wholes.has(core)) return "is the user's own name or e-mail address";
  return undefined;
}

function plainOf(text: string): string {
  return text.normalize('NFKC').toLowerCase().replaceAll(/\s/gu, '');
}

const digitsAsLetters: Readonly<Record<string, string>> = {
  0: 'o',
  1: 'i',
  3: 'e',
  4: 'a',
  5: 's',
  7: 't',
  '@': 'a',
  $: 's',
  '!': 'i',
};

/** Digits and signs that stand for letters, read as them; what is then around the letters is left out. */
function lettersFor(text: string): string {
  const letters = [...text].map((character) => digitsAsLetters[character] ?? character).join('');
  return letters.replace(/^[^\p{L}]+|[^\p{L}]+$/gu, '');
}

/** The same few characters again and again. */
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
];
