import { bearerTokenOf, unauthenticated } from '@zerda/chassis/auth/bearer';
import type { Caller } from '@zerda/chassis/auth/caller';
import { Failure } from '@zerda/chassis/failure';
import { requestLogFields, runInContext } from '@zerda/chassis/request-context';
import { z } from 'zod';
import type { AuthenticationOutcome } from '../metrics/policy-metrics.ts';
import { definePolicy } from './policy.ts';
import type { PolicyContext } from './policy-context.ts';

/** Schema of the setting `access`, which `authenticate` and `authorize` share. */
export const accessSchema = z
  .enum(['public', 'optional', 'user', 'admin'])
  .optional()
  .describe(
    'Required access if AUTH is required. public: any client, the token is ignored. optional: any client, but an invalid token is rejected. user: a valid token. admin: a valid token with the admin role. Default: user. The service verifies the token again and decides which data its caller may use.',
  );

/** Identifies the caller. If that fails, `authorize` rejects the request, after `limit` has counted it. */
export const authenticate = definePolicy({
  key: 'access',
  schema: accessSchema,
  scopes: ['routes', 'aggregates'],
  resources: ['authentication', 'metrics', 'logger'],
  documentation: { effect: 'verifies the access token', response: '503 `identity-unavailable`' },
  describe: (access = 'user') => `access ${access}`,
  create(access = 'user', _route, { authentication, metrics, logger }) {
    if (authentication === 'off' || access === 'public') return undefined;
    function record({ context }: PolicyContext, outcome: AuthenticationOutcome): void {
      metrics.authenticated(outcome);
      if (logger.isLevelEnabled('debug'))
        logger.debug({ ...requestLogFields(context), outcome }, 'caller authenticated');
    }
    function rejectCaller(policyContext: PolicyContext, error: unknown): false {
      if (!(error instanceof Failure) || error.code !== 'unauthenticated') {
        record(policyContext, 'unavailable');
        throw error;
      }
      record(policyContext, 'refused');
      policyContext.authenticationFailure = error;
      return false;
    }
    function acceptCaller(policyContext: PolicyContext, caller: Caller): false {
      policyContext.caller = caller;
      policyContext.context.subject = caller.subject;
      record(policyContext, 'verified');
      return false;
    }
    return (policyContext) => {
      const { authorization } = policyContext.request.headers;
      if (authorization === undefined) {
        record(policyContext, 'anonymous');
        if (access !== 'optional') policyContext.authenticationFailure = unauthenticated();
        return false;
      }
      try {
        const token = bearerTokenOf(authorization) ?? '';
        const { context } = policyContext;
        // The fast path does not run in the context of its request; only a recorded span needs it.
        const verified =
          context.span === undefined
            ? authentication.verify(token)
            : runInContext(context, () => authentication.verify(token));
        return verified.then(
          (caller) => acceptCaller(policyContext, caller),
          (error) => rejectCaller(policyContext, error),
        );
      } catch (error) {
        return rejectCaller(policyContext, error);
      }
    };
  },
});
