import { authenticate } from './authenticate.ts';
import { authorize } from './authorize.ts';
import { cache } from './cache.ts';
import { cors } from './cors.ts';
import { limit } from './limit.ts';
import { shed } from './shed.ts';

/**
 * All policies, in the order in which they run. To add a policy, add its definition here: the schema of the route table, the types of the
 * settings, `npm run routes` and the table in docs/gateway.md follow.
 */
export const policies = [
  // First: also the responses of other policies need its headers.
  cors,
  // Before authentication, so that rejecting is cheap.
  shed,
  authenticate,
  // Between authentication and authorization: requests count against their caller, and rejected requests count too.
  limit,
  authorize,
  // Last: only allowed requests get responses from the cache.
  cache,
] as const;
