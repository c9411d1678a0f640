import { routerPath } from '@zerda/chassis/http/route-path';
import createRouter from 'find-my-way';
import { shape } from './conflicts.ts';
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

/** Characters of a path by RFC 3986, section 3.3, with whole percent-encodings. */
const plainPath = /^(\/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)+$/;

/** Segments that a service may resolve and would so leave the pattern: `.` and `..`, encoded or not, and empty ones. */
const strayingSegment = /\/(\.|%2[Ee]){1,2}(\/|$)|\/\//;

/**
 * Matches paths segment by segment, as they were sent: nothing is decoded, so that gateway and service cannot read
 * one path in two ways. What could be read in two ways is not matched at all.
 * @param ownPaths patterns of what the gateway answers itself; they are never forwarded
 */
export function createMatch(routes: readonly Route[], ownPaths: readonly string[]): Match {
  const router = createRouter({ caseSensitive: true, ignoreTrailingSlash: false, maxParamLength: 8192 });
  const add = (path: string, found: MatchedPath | undefined) =>
    router.on('GET', routerPath(path), () => undefined, found);
  for (const path of ownPaths) add(path, undefined);
  for (const ofShape of groupByShape(routes)) {
    const byMethod = new Map(
      ofShape.flatMap((route) => route.methods.map((method) => [method, route] as const)),
    );
    const { path = '' } = ofShape[0] ?? {};
    add(path, { path, routes: byMethod, allow: [...byMethod.keys()].join(', ') });
  }
  return (path) => {
    if (!plainPath.test(path) || strayingSegment.test(path)) return undefined;
    // Encoded once more, what the router decodes is again what was sent.
    const encoded = path.includes('%') ? path.replaceAll('%', '%25') : path;
    const found = router.find('GET', encoded)?.store as MatchedPath | null | undefined;
    // The router would take an empty last segment for a placeholder too.
    if (!found || (path.endsWith('/') && !found.path.endsWith('*'))) return undefined;
    return found;
  };
}

function groupByShape(routes: readonly Route[]): Iterable<readonly Route[]> {
  const shapes = new Map<string, Route[]>();
  for (const route of routes) {
    const key = shape(route.path);
    shapes.set(key, [...(shapes.get(key) ?? []), route]);
  }
  return shapes.values();
}
