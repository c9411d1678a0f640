import { routerPath } from '@zerda/chassis/http/route-path';
import createRouter from 'find-my-way';
import { shape } from './conflicts.ts';
import { formOf } from './path-form.ts';
import type { Route } from './route.ts';

/** The routes of a path. */
export interface MatchedPath {
  /** Path pattern in metrics and logs; the first in the table if routes name placeholders differently. */
  readonly path: string;
  readonly routes: ReadonlyMap<string, Route>;
  readonly methods: readonly string[];
}

/** Finds the routes of a path; undefined when there are none. @param path as sent, without the query */
export type Match = (path: string) => MatchedPath | undefined;

/**
 * Creates the path matcher. It compares segments as sent, without decoding, so that gateway and service see the same
 * path. Ambiguous paths never match. Only routes with `encoded_slashes: allow` match paths with encoded slashes.
 * @param ownPaths patterns of the gateway's own endpoints; they are never forwarded
 */
export function createMatch(routes: readonly Route[], ownPaths: readonly string[]): Match {
  const router = createRouter({ caseSensitive: true, ignoreTrailingSlash: false, maxParamLength: 8192 });
  const add = (path: string, entry: PathEntry | undefined) =>
    router.on('GET', routerPath(path), () => undefined, entry);
  for (const path of ownPaths) add(path, undefined);
  for (const sameShape of groupByShape(routes)) {
    const { path = '' } = sameShape[0] ?? {};
    add(path, {
      plain: matchedPath(path, sameShape),
      slashes: matchedPath(
        path,
        sameShape.filter(({ encodedSlashes }) => encodedSlashes),
      ),
    });
  }
  return (path) => {
    const form = formOf(path);
    if (form === 'malformed') return undefined;
    // The router decodes its input, so the path is encoded once more.
    const encoded = path.includes('%') ? path.replaceAll('%', '%25') : path;
    const entry = router.find('GET', encoded)?.store as PathEntry | null | undefined;
    const matched = entry?.[form];
    // The router would match a placeholder with an empty last segment.
    if (!matched || (path.endsWith('/') && !matched.path.endsWith('*'))) return undefined;
    return matched;
  };
}

/** The routes of a pattern, by the form of the request path. */
interface PathEntry {
  readonly plain: MatchedPath | undefined;
  /** Routes that allow encoded slashes. */
  readonly slashes: MatchedPath | undefined;
}

function matchedPath(path: string, routes: readonly Route[]): MatchedPath | undefined {
  if (routes.length === 0) return undefined;
  const byMethod = new Map(
    routes.flatMap((route) => route.methods.map((method) => [method, route] as const)),
  );
  return { path, routes: byMethod, methods: [...byMethod.keys()] };
}

function groupByShape(routes: readonly Route[]): Iterable<readonly Route[]> {
  const shapes = new Map<string, Route[]>();
  for (const route of routes) {
    const key = shape(route.path);
    shapes.set(key, [...(shapes.get(key) ?? []), route]);
  }
  return shapes.values();
}
