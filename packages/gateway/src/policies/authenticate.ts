import { bearerTokenOf, unauthenticated } from '@zerda/chassis/auth/bearer';
import type { Caller } from '@zerda/chassis/auth/caller';
import { Failure } from '@zerda/chassis/failure';
import { z } from 'zod';
import type { PolicyKind } from './policy.ts';
import type { Visit } from './visit.ts';

export const accessKeys = {
  access: z
    .enum(['public', 'optional', 'user', 'admin'])
    .optional()
    .describe(
      'Who is let in when AUTH is required: public, everybody, and a token is not looked at; optional, everybody, but no token that is not valid; user, whoever has a valid token; admin, admins. user by default. What of it is whose, the service decides, which verifies the token again.',
    ),
};

/** Finds out who asks. Somebody who is not believed is refused by `authorize`, after having been counted. */
export const authenticate: PolicyKind<typeof accessKeys> = {
  keys: accessKeys,
  answerHeaders: [],
  describe: ({ access = 'user' }) => `access ${access}`,
  create({ access = 'user' }, _route, { authentication, metrics }) {
    if (authentication === 'off' || access === 'public') return undefined;
    function refuse(visit: Visit, error: unknown): false {
      if (!(error instanceof Failure) || error.code !== 'unauthenticated') {
        metrics.authenticated('unavailable');
        throw error;
      }
      metrics.authenticated('refused');
      visit.refusal = error;
      return false;
    }
    function know(visit: Visit, caller: Caller): false {
      visit.caller = caller;
      visit.context.subject = caller.subject;
      metrics.authenticated('verified');
      return false;
    }
    return (visit) => {
      const { authorization } = visit.request.headers;
      if (authorization === undefined) {
        metrics.authenticated('anonymous');
        if (access !== 'optional') visit.refusal = unauthenticated();
        return false;
      }
      try {
        const token = bearerTokenOf(authorization) ?? '';
        return authentication.verify(token).then(
          (caller) => know(visit, caller),
          (error) => refuse(visit, error),
        );
      } catch (error) {
        return refuse(visit, error);
      }
    };
  },
};
