import { z } from 'zod';
import { upstreamVariable } from '../config.ts';
import { ownPaths } from '../own-endpoints/own-paths.ts';
import type { TableSchemas } from './table.ts';

/** An error in a table and its location. */
export interface TableFinding {
  /** Keys and indexes of the location. */
  readonly path: readonly PropertyKey[];
  /** Description of the error; printed after the path. */
  readonly message: string;
}

/** The parts of a table to check, with entries of any shape; the schema reports malformed entries. */
const looseTable = z.object({
  upstreams: z.record(z.string(), z.unknown()).catch({}),
  routes: z.array(z.unknown()).catch([]),
  aggregates: z.array(z.unknown()).catch([]),
});

const upstreamReference = z.object({ upstream: z.string() });

/**
 * Returns the inconsistencies of a table: unknown names, two entries for one request, and one URL variable for two
 * upstreams.
 * @param schemas those of the table; malformed entries are left to them
 */
export function findConflicts(content: unknown, schemas: TableSchemas): TableFinding[] {
  const { upstreams, routes, aggregates } = looseTable
    .catch({ upstreams: {}, routes: [], aggregates: [] })
    .parse(content);
  const findings: TableFinding[] = [];
  const owners = new Map(ownPaths.map((path) => [shape(path), 'the gateway itself']));
  const report = (path: readonly PropertyKey[], message: string) => findings.push({ path, message });
  const checkUpstream = (name: string, location: readonly PropertyKey[]) => {
    if (!Object.hasOwn(upstreams, name))
      report([...location, 'upstream'], `names an unknown upstream: ${name}`);
  };

  const variables = new Map<string, string>();
  for (const name of Object.keys(upstreams)) {
    const variable = upstreamVariable(name);
    const owner = variables.get(variable);
    if (owner !== undefined)
      report(['upstreams', name], `uses the variable ${variable}, which ${owner} already uses`);
    variables.set(variable, name);
  }

  for (const [index, entry] of aggregates.entries()) {
    const { data: aggregate } = schemas.aggregate.safeParse(entry);
    if (aggregate === undefined) continue;
    const { path, params, parts, answer: members } = aggregate;
    const location = ['aggregates', index];
    const owner = owners.get(shape(path));
    if (owner !== undefined) report([...location, 'path'], `is already served by ${owner}`);
    owners.set(shape(path), location.join('.'));
    for (const name of Object.keys(params)) {
      if (!placeholders(path).includes(name))
        report([...location, 'params', name], `is not a placeholder of ${path}`);
    }
    for (const [name, part] of Object.entries(parts)) {
      checkUpstream(part.upstream, [...location, 'parts', name]);
      const unknownPlaceholders = placeholders(part.path).filter(
        (placeholder) => !placeholders(path).includes(placeholder),
      );
      if (unknownPlaceholders.length > 0)
        report(
          [...location, 'parts', name, 'path'],
          `contains {${unknownPlaceholders[0]}}, which is not a placeholder of ${path}`,
        );
    }
    for (const [name, { from }] of Object.entries(members)) {
      const part = from.split('.', 1)[0] ?? '';
      if (!Object.hasOwn(parts, part))
        report([...location, 'answer', name, 'from'], `names an unknown part: ${part}`);
    }
  }

  const takenMethods = new Set<string>();
  for (const [index, entry] of routes.entries()) {
    const location = ['routes', index];
    const { data: reference } = upstreamReference.safeParse(entry);
    if (reference !== undefined) checkUpstream(reference.upstream, location);
    const { data: route } = schemas.route.safeParse(entry);
    if (route === undefined) continue;
    const { path, methods } = route;
    const owner = owners.get(shape(path));
    if (owner !== undefined) report([...location, 'path'], `is already served by ${owner}`);
    for (const method of methods) {
      const key = `${method} ${shape(path)}`;
      if (takenMethods.has(key))
        report(
          [...location, 'methods'],
          `contains ${method}, which another route of the same path already contains`,
        );
      takenMethods.add(key);
    }
  }
  return findings;
}

/** Returns the pattern without placeholder names. Patterns of the same shape match the same requests. */
export function shape(path: string): string {
  return path.replaceAll(/\{[^}]*\}/g, '{}');
}

/** Returns the placeholder names of a pattern. */
function placeholders(path: string): string[] {
  return [...path.matchAll(/\{([^}]*)\}/g)].map(([, name = '']) => name);
}
