import { isDeepStrictEqual } from 'node:util';
import type { DataSchema } from './schema.ts';

/** Keywords that do not affect validation. */
const annotations = new Set(['title', 'description', 'examples', '$comment']);

/**
 * Returns the incompatible changes between the published and the current schema of an event type, one sentence each.
 * Compatibility is required in both directions: old receivers read new events, and new receivers read old events from a stream.
 * So only optional members can be added. Any other change, including a wider enum, requires a new version of the type.
 */
export function breakingChanges(published: DataSchema, current: DataSchema): string[] {
  const removed = Object.keys(published.properties).filter(
    (name) => !Object.hasOwn(current.properties, name),
  );
  const changed = Object.entries(published.properties).filter(
    ([name, schema]) =>
      Object.hasOwn(current.properties, name) &&
      !isDeepStrictEqual(withoutAnnotations(schema), withoutAnnotations(current.properties[name])),
  );
  const madeRequired = current.required.filter((name) => !published.required.includes(name));
  const madeOptional = published.required.filter(
    (name) => !current.required.includes(name) && !removed.includes(name),
  );
  return [
    ...removed.map((name) => `${name} was removed`),
    ...changed.map(([name]) => `${name} was changed`),
    ...madeRequired.map((name) => `${name} was made required`),
    ...madeOptional.map((name) => `${name} was made optional`),
  ];
}

/** Returns the schema without annotations at any depth. The keys of `properties` are member names, not keywords. */
function withoutAnnotations(schema: unknown, isProperties = false): unknown {
  if (Array.isArray(schema)) return schema.map((item) => withoutAnnotations(item));
  if (typeof schema !== 'object' || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema)
      .filter(([key]) => isProperties || !annotations.has(key))
      .map(([key, value]) => [key, withoutAnnotations(value, !isProperties && key === 'properties')]),
  );
}
