import { Failure } from '@zerda/chassis/failure';
import { createFixedContent } from '@zerda/chassis/http/fixed-content';
import { methodNotAllowed } from '@zerda/chassis/http/problem-response';
import { routerPath } from '@zerda/chassis/http/route-path';
import { problemCodes } from '@zerda/contracts/problems';
import { type RequestHandler, Router } from 'express';
import { type ApiDocument, apiPage } from './api-page.ts';
import { stylesheet, stylesheetPath } from './page.ts';
import { problemListPage, problemPage } from './problem-pages.ts';

/** Allows only the stylesheet: no scripts, forms, frames or other origins. */
const contentSecurityPolicy =
  "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Creates the router of the API and problem pages. They are rendered on the server and load no scripts or external files. */
export function createDocumentationRouter(document: object): Router {
  const router = Router({ caseSensitive: true, strict: true });

  function serve(path: string, handler: RequestHandler): void {
    router
      .route(routerPath(path))
      .all((_request, response, next) => {
        response.setHeader('Content-Security-Policy', contentSecurityPolicy);
        next();
      })
      .get(handler)
      .all(methodNotAllowed(['GET', 'HEAD']));
  }

  serve('/docs', createFixedContent('html', apiPage(document as ApiDocument)));
  serve(stylesheetPath, createFixedContent('css', stylesheet));
  serve('/problems', createFixedContent('html', problemListPage()));
  const pages = new Map<unknown, RequestHandler>(
    problemCodes.map((code) => [code, createFixedContent('html', problemPage(code))]),
  );
  serve('/problems/{code}', (request, response, next) => {
    const send = pages.get(request.params.code);
    if (send === undefined) throw new Failure('not-found');
    return send(request, response, next);
  });
  return router;
}
