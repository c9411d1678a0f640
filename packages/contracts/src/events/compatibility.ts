import { isDeepStrictEqual } from 'node:util';
import type { DataSchema } from './schema.ts';

/** Keywords that say nothing about what fits. */
const annotations = new Set(['title', 'description', 'examples', '$comment']);

/**
 * What makes a schema another one than was published under the same type, one sentence each; none when everybody can go on.
 * Two generations must get along, in both directions: receivers of yesterday read what is sent today, and receivers of
 * today what was sent yesterday and still lies in a stream. So all that may be done is to add optional members; anything
 * else, a wider enum too, is a new version of the type.
 */
export function breakingChanges(published: DataSchema, current: DataSchema): string[] {
  const removed = Object.keys(published.properties).filter(
    (name) => !Object.hasOwn(current.properties, name),
  );
  const changed = Object.entries(published.properties).filter(
    ([name, schema]) =>
      Object.hasOwn(current.properties, name) &&
      !isDeepStrictEqual(bare(schema), bare(current.properties[name])),
  );
  const asked = current.required.filter((name) => !published.required.includes(name));
  const optional = published.required.filter(
    (name) => !current.required.includes(name) && !removed.includes(name),
  );
  return [
    ...removed.map((name) => `${name} was removed`),
    ...changed.map(([name]) => `${name} means something else`),
    ...asked.map((name) => `${name} was made required`),
    ...optional.map((name) => `${name} was made optional`),
  ];
}

/** The same schema without words for people, at any depth; members of `properties` are names, not keywords. */
function bare(schema: unknown, named = false): unknown {
  if (Array.isArray(schema)) return schema.map((part) => bare(part));
  if (typeof schema !== 'object' || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema)
      .filter(([keyword]) => named || !annotations.has(keyword))
      .map(([keyword, value]) => [keyword, bare(value, !named && keyword === 'properties')]),
  );
}
