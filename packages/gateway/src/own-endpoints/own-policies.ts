import type { RequestHandler } from 'express';
import { runPolicies } from '../policies/policy.ts';
import { addHeaders, currentPolicyContext, type PolicyContext } from '../policies/policy-context.ts';
import type { PolicyFactory } from '../policies/route-policies.ts';
import type { OwnEndpoint, OwnSettings } from './own-endpoints.ts';
import { healthPath, ownPaths } from './own-paths.ts';

/** Runs the policies of an own endpoint. Resolves with whether one of them has responded. @throws what policies throw */
type RunOwnPolicies = (policyContext: PolicyContext) => Promise<boolean>;

/** Functions that run the policies of the own endpoints. */
export interface OwnPolicies {
  /** By path pattern, for each of the own paths. */
  readonly byPath: ReadonlyMap<string, RunOwnPolicies>;
  readonly preflight: RunOwnPolicies;
  readonly unmatched: RunOwnPolicies;
}

/** Creates the policies of own endpoints. Paths of the same kind share a limit and have their own label in metrics. */
export function createOwnPolicies(settings: OwnSettings, factory: PolicyFactory): OwnPolicies {
  const create = (endpoint: OwnEndpoint, path: string): RunOwnPolicies => {
    const { policies } = factory.create(settings[endpoint], {
      scope: 'own',
      name: `own ${endpoint}`,
      path,
      methods: [],
      upstreams: [],
      forwarded: undefined,
    });
    return async (policyContext) => runPolicies(policies, policyContext);
  };
  return {
    byPath: new Map(
      ownPaths.map((path) => [path, create(path === healthPath ? 'health' : 'documentation', path)]),
    ),
    preflight: create('preflight', 'preflight'),
    unmatched: create('unmatched', 'unmatched'),
  };
}

/** Converts the policies of an own endpoint to an Express middleware. */
export function asMiddleware(run: RunOwnPolicies): RequestHandler {
  return async (request, response, next) => {
    const policyContext = currentPolicyContext(request, response);
    try {
      if (await run(policyContext)) return;
    } finally {
      addHeaders(response, policyContext.responseHeaders);
    }
    next();
  };
}
