import { isMap, isPair, isScalar, type Pair, parseDocument, type YAMLMap } from 'yaml';

/** A JSON schema, as far as it is made here. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** A value of a chart as its values.yaml has it. */
export interface ChartValue {
  /** Names from the root, joined by dots. */
  readonly path: string;
  /** What its comment says after `# --`. */
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
 * The values of a chart in their order, each with its description.
 * @throws Error that names a value without one
 */
export function readValues(text: string): ChartValue[] {
  return valuesOf(rootOf(text), []);
}

/**
 * The JSON schema of a chart's values: strict in every map but those whose comment says `additionalProperties`. Draft 7, which Helm
 * reads in all its versions; the root takes `enabled` and `global` too, by which a chart around this one speaks to it.
 * @throws Error that names the value whose comment or default has no meaning
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
  if (!isMap(document.contents)) throw new Error('values.yaml holds no map');
  return document.contents;
}

/** A map without a description is a group of values; with one it is itself the value, whatever its default holds. */
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
      const own =
        description === undefined && isMap(value)
          ? mapSchema(value, [...parents, name])
          : { description, type: typeOf(value, path) };
      return [name, { ...own, ...schema }];
    }),
  );
  return { type: 'object', additionalProperties: false, properties };
}

function partsOf(pair: unknown, parents: readonly string[]) {
  if (!isPair(pair) || !isScalar(pair.key)) throw new Error('a value has no name');
  const name = String(pair.key.value);
  return { name, path: [...parents, name].join('.'), value: (pair as Pair).value as YAMLMap };
}

/** A comment belongs to the value right below it; the one before the first value hangs on the map. */
function commentOf(map: YAMLMap, index: number, path: string): Comment {
  const { key } = map.items[index] as Pair<{ commentBefore?: string | null }>;
  const whole = key.commentBefore ?? (index === 0 ? map.commentBefore : undefined) ?? '';
  const lines = (whole.split(/\n\s*\n/).at(-1) ?? '').split('\n').map((line) => line.trim());
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
    throw new Error(`the "# @schema" of ${path} is not JSON`, { cause });
  }
}

function typeOf(value: unknown, path: string): string {
  if (isMap(value)) return 'object';
  if (!isScalar(value)) return 'array';
  const { value: standard } = value;
  if (typeof standard === 'number') return Number.isInteger(standard) ? 'integer' : 'number';
  if (typeof standard === 'string' || typeof standard === 'boolean') return typeof standard;
  throw new Error(`the default of ${path} has no type`);
}
