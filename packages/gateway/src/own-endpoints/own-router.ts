import { setRoute } from '@zerda/chassis/http/request-observer';
import { routerPath } from '@zerda/chassis/http/route-path';
import { Router } from 'express';
import { asMiddleware, type OwnPolicies } from './own-policies.ts';

/** Sets the route of requests to the gateway's own endpoints and runs their policies before their handlers. */
export function createOwnRouter({ byPath }: Pick<OwnPolicies, 'byPath'>): Router {
  const router = Router({ caseSensitive: true, strict: true });
  for (const [path, runPolicies] of byPath) {
    router
      .route(routerPath(path))
      .all((_request, response, next) => {
        setRoute(response, path);
        next();
      })
      .all(asMiddleware(runPolicies));
  }
  return router;
}
