import { setTimeout as wait } from 'node:timers/promises';
import { invalidToken } from '@zerda/chassis/auth/bearer';
import type { Caller, Role } from '@zerda/chassis/auth/caller';
import type { TokenVerifier } from '@zerda/chassis/auth/token-verifier';
import { Failure } from '@zerda/chassis/failure';

/** The token of somebody for `testVerifier`. */
function tokenOf(subject: string, role: Role = 'user'): string {
  return `${role}.${subject}`;
}

/** The header that says so. */
export function bearer(subject: string, role: Role = 'user'): { authorization: string } {
  return { authorization: `Bearer ${tokenOf(subject, role)}` };
}

const callers = new Map<string, Caller>();

/**
 * Believes the tokens of `tokenOf`, after a while for subjects that begin with `slow`, and no other; for the token
 * `unknown` it does not know the key. Signatures are tested where they are verified.
 */
export const testVerifier: TokenVerifier = {
  async verify(token) {
    if (token === 'unknown') throw new Failure('identity-unavailable', { headers: { 'Retry-After': '1' } });
    const [, role, subject = ''] = /^(user|admin)\.(.+)$/.exec(token) ?? [];
    if (role === undefined) throw invalidToken('The access token is not one that this service takes.');
    if (subject.startsWith('slow')) await wait(5);
    const caller = callers.get(token) ?? { subject, userId: undefined, role: role as Role };
    callers.set(token, caller);
    return caller;
  },
};
