import { forbidden } from '@zerda/chassis/auth/bearer';
import { accessSchema } from './authenticate.ts';
import { definePolicy } from './policy.ts';

/** Rejects requests whose caller may not use the route: 401 or 403. */
export const authorize = definePolicy({
  key: 'access',
  schema: accessSchema,
  scopes: ['routes', 'aggregates'],
  resources: ['authentication'],
  documentation: {
    effect: 'rejects callers that the route does not allow',
    response: '401 `unauthenticated`, 403 `forbidden`',
  },
  describe: () => undefined,
  create(access = 'user', _route, { authentication }) {
    if (authentication === 'off' || access === 'public') return undefined;
    return ({ authenticationFailure, caller }) => {
      if (authenticationFailure !== undefined) throw authenticationFailure;
      if (access === 'admin' && caller?.role !== 'admin') throw forbidden('The admin role is required.');
      return false;
    };
  },
});
