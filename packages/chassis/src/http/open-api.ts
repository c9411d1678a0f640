import { Router } from 'express';
import { createFixedContent } from './fixed-content.ts';
import { methodNotAllowed } from './problem-response.ts';

/** Serves an OpenAPI document at `/openapi.json`. */
export function serveOpenApi(document: object): Router {
  const send = createFixedContent('application/json', JSON.stringify(document));
  const router = Router({ caseSensitive: true, strict: true });
  router
    .route('/openapi.json')
    .get(send)
    .all(methodNotAllowed(['GET', 'HEAD']));
  return router;
}
