import { Failure } from '@zerda/chassis/failure';
import { createFixedContent } from '@zerda/chassis/http/fixed-content';
import { methodNotAllowed } from '@zerda/chassis/http/problem-response';
import { setRoute } from '@zerda/chassis/http/request-observer';
import { routerPath } from '@zerda/chassis/http/route-path';
import { problemCodes } from '@zerda/contracts/problems';
import { type RequestHandler, Router } from 'express';
import { type ApiDocument, apiPage } from './api-page.ts';
import { stylesheet, stylesheetPath } from './page.ts';
import { problemListPage, problemPage } from './problem-pages.ts';

/** The pages need their stylesheet and nothing else; no script, no form, no frame, no other origin. */
const contentSecurityPolicy =
  "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Pages of the API and its problems, rendered here: they work without scripts and without a network. */
export function createDocumentationRouter(document: object): Router {
  const router = Router({ caseSensitive: true, strict: true });

  function serve(path: string, handler: RequestHandler): void {
    router
      .route(routerPath(path))
      .all((_request, response, next) => {
        setRoute(response, path);
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
