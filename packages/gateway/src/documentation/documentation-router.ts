import { Failure } from '@zerda/chassis/failure';
import { methodNotAllowed } from '@zerda/chassis/http/problem-response';
import { setRoute } from '@zerda/chassis/http/request-observer';
import { type ProblemCode, problemCodeOf, problemType } from '@zerda/contracts/problems';
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
  const api = apiPage(document as ApiDocument);
  const problems = problemListPage();

  function serve(path: string, expressPath: string, type: string, render: (code: string) => string): void {
    const handler: RequestHandler = (request, response) => {
      response.setHeader('Content-Security-Policy', contentSecurityPolicy);
      response.setHeader('Cache-Control', 'no-cache');
      response.type(type).send(render(String(request.params.code ?? '')));
    };
    router
      .route(expressPath)
      .all((_request, response, next) => {
        setRoute(response, path);
        next();
      })
      .get(handler)
      .all(methodNotAllowed(['GET', 'HEAD']));
  }

  serve('/docs', '/docs', 'html', () => api);
  serve(stylesheetPath, stylesheetPath, 'css', () => stylesheet);
  serve('/problems', '/problems', 'html', () => problems);
  serve('/problems/{code}', '/problems/:code', 'html', (segment) => {
    const code = problemCodeOf(problemType(segment as ProblemCode));
    if (code === undefined) throw new Failure('not-found');
    return problemPage(code);
  });
  return router;
}
