import { forbidden } from '@zerda/chassis/auth/bearer';
import { accessKeys } from './authenticate.ts';
import type { PolicyKind } from './policy.ts';

/** Lets in whom the route is for. */
export const authorize: PolicyKind<typeof accessKeys> = {
  keys: accessKeys,
  answerHeaders: [],
  describe: () => undefined,
  create({ access = 'user' }, _route, { authentication }) {
    if (authentication === 'off' || access === 'public') return undefined;
    return ({ refusal, caller }) => {
      if (refusal !== undefined) throw refusal;
      if (access === 'admin' && caller?.role !== 'admin') throw forbidden('This is for admins.');
      return false;
    };
  },
};
