import { Router } from 'express';
import { methodNotAllowed } from './problem-response.ts';

/** Serves an OpenAPI document at `/openapi.json`. */
export function serveOpenApi(document: object): Router {
  const text = JSON.stringify(document);
  const router = Router({ caseSensitive: true, strict: true });
  router
    .route('/openapi.json')
    .get((_request, response) => {
      response.type('application/json').send(text);
    })
    .all(methodNotAllowed(['GET', 'HEAD']));
  return router;
}
