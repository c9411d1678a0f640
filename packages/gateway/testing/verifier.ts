import { setTimeout as wait } from 'node:timers/promises';
import { invalidToken } from '@zerda/chassis/auth/bearer';
import type { Caller, Role } from '@zerda/chassis/auth/caller';
import type { TokenVerifier } from '@zerda/chassis/auth/token-verifier';
import { Failure } from '@zerda/chassis/failure';

/** Returns a token that `testVerifier` accepts. */
function testToken(subject: string, role: Role = 'user'): string {
  return `${role}.${subject}`;
}

/** Returns the `Authorization` header with that token. */
export function bearer(subject: string, role: Role = 'user'): { authorization: string } {
  return { authorization: `Bearer ${testToken(subject, role)}` };
}

const callers = new Map<string, Caller>();

/**
 * Accepts only the tokens of `testToken`. Subjects that start with `slow` are verified asynchronously, and the token `unknown` fails because
 * its key is unavailable. It verifies no signatures.
 */
export const testVerifier: TokenVerifier = {
  async verify(token) {
    if (token === 'unknown') throw new Failure('identity-unavailable', { retryAfterSeconds: 1 });
    const [, role, subject = ''] = /^(user|admin)\.(.+)$/.exec(token) ?? [];
    if (role === undefined) throw invalidToken('The access token is not one that this service takes.');
    if (subject.startsWith('slow')) await wait(5);
    const caller = callers.get(token) ?? { subject, userId: undefined, role: role as Role };
    callers.set(token, caller);
    return caller;
  },
};
