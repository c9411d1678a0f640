import { isMap, isPair, isScalar, type Pair, parseDocument, type YAMLMap } from 'yaml';

/** A JSON schema. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** A value of a chart, from its values.yaml. */
export interface ChartValue {
  /** Path from the root, joined by dots. */
  readonly path: string;
  /** Text of its comment after `# --`. */
  readonly description: string;
  /** Its default, as JSON. */
  readonly default: string;
}

/** A comment before a value: the text after `# --`, and the JSON after `# @schema`. */
interface Comment {
  readonly description: string | undefined;
  readonly schema: JsonSchema;
}

/**
 * Returns the values of a chart in order, each with its description.
 * @throws Error that names a value without description
 */
export function readValues(text: string): ChartValue[] {
  return valuesOf(rootOf(text), []);
}

/**
 * Returns the JSON schema of a chart's values. Maps reject unknown keys unless their comment sets `additionalProperties`.
 * The schema is draft 7, which all Helm versions support. The root also allows `enabled` and `global`, which a parent chart
 * sets.
 * @throws Error that names the value with an invalid comment or default
 */
export function schemaOf(text: string): JsonSchema {
  const { properties, ...rest } = mapSchema(rootOf(text), []) as { properties: Record<string, unknown> };
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    ...rest,
    properties: { enabled: { type: 'boolean' }, global: { type: 'object' }, ...properties },
  };
}

function rootOf(text: string): YAMLMap {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error !== undefined) throw error;
  if (!isMap(document.contents)) throw new Error('values.yaml does not contain a map');
  return document.contents;
}

/** Returns the values of a map. A nested map without a description is a group of values; one with a description is a value. */
function valuesOf(map: YAMLMap, parents: readonly string[]): ChartValue[] {
  return map.items.flatMap((pair, index) => {
    const { name, path, value } = partsOf(pair, parents);
    const { description } = commentOf(map, index, path);
    if (description !== undefined) return [{ path, description, default: JSON.stringify(value.toJSON()) }];
    if (isMap(value)) return valuesOf(value, [...parents, name]);
    throw new Error(`${path} has no comment that begins with "# --"`);
  });
}

function mapSchema(map: YAMLMap, parents: readonly string[]): JsonSchema {
  const properties = Object.fromEntries(
    map.items.map((pair, index) => {
      const { name, path, value } = partsOf(pair, parents);
      const { description, schema } = commentOf(map, index, path);
      const generatedSchema =
        description === undefined && isMap(value)
          ? mapSchema(value, [...parents, name])
          : { description, type: typeOf(value, path) };
      return [name, { ...generatedSchema, ...schema }];
    }),
  );
  return { type: 'object', additionalProperties: false, properties };
}

function partsOf(pair: unknown, parents: readonly string[]) {
  if (!isPair(pair) || !isScalar(pair.key)) throw new Error('A value has no name');
  const name = String(pair.key.value);
  return { name, path: [...parents, name].join('.'), value: (pair as Pair).value as YAMLMap };
}

/** Returns the comment directly above a value. The parser attaches the comment above the first value to the map. */
function commentOf(map: YAMLMap, index: number, path: string): Comment {
  const { key } = map.items[index] as Pair<{ commentBefore?: string | null }>;
  const commentText = key.commentBefore ?? (index === 0 ? map.commentBefore : undefined) ?? '';
  const lines = (commentText.split(/\n\s*\n/).at(-1) ?? '').split('\n').map((line) => line.trim());
  const schemaAt = lines.findIndex((line) => line.startsWith('@schema '));
  const description = lines
    .slice(0, schemaAt === -1 ? undefined : schemaAt)
    .join(' ')
    .match(/^-- (.+)$/)?.[1];
  return { description, schema: schemaAt === -1 ? {} : parseSchema(lines[schemaAt] ?? '', path) };
}

function parseSchema(line: string, path: string): JsonSchema {
  try {
    return JSON.parse(line.slice('@schema '.length)) as JsonSchema;
  } catch (cause) {
    throw new Error(`The "# @schema" comment of ${path} is not valid JSON`, { cause });
  }
}

function typeOf(value: unknown, path: string): string {
  if (isMap(value)) return 'object';
  if (!isScalar(value)) return 'array';
  const { value: defaultValue } = value;
  if (typeof defaultValue === 'number') return Number.isInteger(defaultValue) ? 'integer' : 'number';
  if (typeof defaultValue === 'string' || typeof defaultValue === 'boolean') return typeof defaultValue;
  throw new Error(`The default of ${path} has no type`);
}
