import { routerPath } from '@zerda/chassis/http/route-path';
import createRouter from 'find-my-way';
import { shape } from './conflicts.ts';
import { formOf } from './path-form.ts';
import type { Route } from './route.ts';

/** What the table has for a path. */
export interface MatchedPath {
  /** The pattern, as metrics and logs name it; the first one of the table where methods name placeholders differently. */
  readonly path: string;
  readonly routes: ReadonlyMap<string, Route>;
  /** Methods as `Allow` lists them. */
  readonly allow: string;
}

/** Finds what a request's path, as it was sent and without its query, is forwarded by; undefined when by nothing. */
export type Match = (path: string) => MatchedPath | undefined;

/**
 * Matches paths segment by segment, as they were sent: nothing is decoded, so that gateway and service cannot read
 * one path in two ways. What could be read in two ways is not matched at all; only routes that allow encoded slashes match a path
 * that has some.
 * @param ownPaths patterns of what the gateway answers itself; they are never forwarded
 */
export function createMatch(routes: readonly Route[], ownPaths: readonly string[]): Match {
  const router = createRouter({ caseSensitive: true, ignoreTrailingSlash: false, maxParamLength: 8192 });
  const add = (path: string, store: Store | undefined) =>
    router.on('GET', routerPath(path), () => undefined, store);
  for (const path of ownPaths) add(path, undefined);
  for (const ofShape of groupByShape(routes)) {
    const { path = '' } = ofShape[0] ?? {};
    add(path, {
      plain: matchedPath(path, ofShape),
      slashes: matchedPath(
        path,
        ofShape.filter(({ encodedSlashes }) => encodedSlashes),
      ),
    });
  }
  return (path) => {
    const form = formOf(path);
    if (form === 'malformed') return undefined;
    // Encoded once more, what the router decodes is again what was sent.
    const encoded = path.includes('%') ? path.replaceAll('%', '%25') : path;
    const store = router.find('GET', encoded)?.store as Store | null | undefined;
    const found = store?.[form];
    // The router would take an empty last segment for a placeholder too.
    if (!found || (path.endsWith('/') && !found.path.endsWith('*'))) return undefined;
    return found;
  };
}

/** What the router has for a pattern. */
interface Store {
  readonly plain: MatchedPath | undefined;
  /** For paths with encoded slashes. */
  readonly slashes: MatchedPath | undefined;
}

function matchedPath(path: string, routes: readonly Route[]): MatchedPath | undefined {
  if (routes.length === 0) return undefined;
  const byMethod = new Map(
    routes.flatMap((route) => route.methods.map((method) => [method, route] as const)),
  );
  return { path, routes: byMethod, allow: [...byMethod.keys()].join(', ') };
}

function groupByShape(routes: readonly Route[]): Iterable<readonly Route[]> {
  const shapes = new Map<string, Route[]>();
  for (const route of routes) {
    const key = shape(route.path);
    shapes.set(key, [...(shapes.get(key) ?? []), route]);
  }
  return shapes.values();
}
