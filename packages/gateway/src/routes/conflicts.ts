import { z } from 'zod';
import { upstreamVariable } from '../config.ts';
import { tableAggregate, tableRoute } from './table.ts';

/** Something wrong in a table, and where. */
export interface TableFinding {
  /** Keys and indexes that lead to it. */
  readonly path: readonly PropertyKey[];
  /** What is wrong, to be read after the path. */
  readonly message: string;
}

/** Path of the health of all services. */
export const healthPath = '/api/health';

/** Patterns of what the gateway answers itself, whatever the table. */
export const ownPaths: readonly string[] = [
  healthPath,
  '/docs',
  '/docs/style.css',
  '/openapi.json',
  '/problems',
  '/problems/{code}',
];

/** As much of a table as can be compared: entries of any shape, since those that have none are found elsewhere. */
const comparable = z.object({
  upstreams: z.record(z.string(), z.unknown()).catch({}),
  routes: z.array(z.unknown()).catch([]),
  aggregates: z.array(z.unknown()).catch([]),
});

const namesUpstream = z.object({ upstream: z.string() });

/** What does not fit together in a table: names of nothing, two answers to one request, one address for two upstreams. */
export function findConflicts(content: unknown): TableFinding[] {
  const { upstreams, routes, aggregates } = comparable
    .catch({ upstreams: {}, routes: [], aggregates: [] })
    .parse(content);
  const findings: TableFinding[] = [];
  const owners = new Map(ownPaths.map((path) => [shape(path), 'the gateway itself']));
  const refuse = (path: readonly PropertyKey[], message: string) => findings.push({ path, message });
  const checkUpstream = (name: string, at: readonly PropertyKey[]) => {
    if (!Object.hasOwn(upstreams, name)) refuse([...at, 'upstream'], `names no upstream: ${name}`);
  };

  const variables = new Map<string, string>();
  for (const name of Object.keys(upstreams)) {
    const variable = upstreamVariable(name);
    const owner = variables.get(variable);
    if (owner !== undefined) refuse(['upstreams', name], `has its address in ${variable}, as ${owner} has`);
    variables.set(variable, name);
  }

  for (const [index, entry] of aggregates.entries()) {
    const { data: aggregate } = tableAggregate.safeParse(entry);
    if (aggregate === undefined) continue;
    const { path, params, parts, answer } = aggregate;
    const at = ['aggregates', index];
    const owner = owners.get(shape(path));
    if (owner !== undefined) refuse([...at, 'path'], `is answered by ${owner}`);
    owners.set(shape(path), at.join('.'));
    for (const name of Object.keys(params)) {
      if (!placeholders(path).includes(name)) refuse([...at, 'params', name], `is no placeholder of ${path}`);
    }
    for (const [name, part] of Object.entries(parts)) {
      checkUpstream(part.upstream, [...at, 'parts', name]);
      const unknown = placeholders(part.path).filter(
        (placeholder) => !placeholders(path).includes(placeholder),
      );
      if (unknown.length > 0)
        refuse([...at, 'parts', name, 'path'], `has {${unknown[0]}}, which ${path} has not`);
    }
    for (const [name, { from }] of Object.entries(answer)) {
      const part = from.split('.', 1)[0] ?? '';
      if (!Object.hasOwn(parts, part)) refuse([...at, 'answer', name, 'from'], `names no part: ${part}`);
    }
  }

  const taken = new Set<string>();
  for (const [index, entry] of routes.entries()) {
    const at = ['routes', index];
    const { data: named } = namesUpstream.safeParse(entry);
    if (named !== undefined) checkUpstream(named.upstream, at);
    const { data: route } = tableRoute.safeParse(entry);
    if (route === undefined) continue;
    const { path, methods } = route;
    const owner = owners.get(shape(path));
    if (owner !== undefined) refuse([...at, 'path'], `is answered by ${owner}`);
    for (const method of methods) {
      const key = `${method} ${shape(path)}`;
      if (taken.has(key))
        refuse([...at, 'methods'], `has ${method}, which another route of that path has already`);
      taken.add(key);
    }
  }
  return findings;
}

/** Two patterns of one shape take the same requests. */
export function shape(path: string): string {
  return path.replaceAll(/\{[^}]*\}/g, '{}');
}

/** Names of the placeholders in a pattern. */
function placeholders(path: string): string[] {
  return [...path.matchAll(/\{([^}]*)\}/g)].map(([, name = '']) => name);
}
