import {
  isMap,
  isPair,
  isScalar,
  isSeq,
  type Pair,
  parseDocument,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';

/** Names of map keys and positions in lists that lead to a node. */
export type YamlPath = readonly (string | number)[];

/** A node with its position in the text. */
interface Positioned {
  readonly range: readonly [start: number, valueEnd: number, nodeEnd: number];
}

/**
 * Adds an entry to a map. All other text stays as it is, with comments and format.
 * @param entry text of the entry without indentation; lines of a block, or `key: value` for a map in braces
 * @param before key before which the entry is added; at the end by default
 * @throws Error if there is no map at the path, or the key exists
 */
export function addEntry(text: string, path: YamlPath, entry: string, before?: string): string {
  const map = findMap(text, path);
  const [key = ''] = /^[^:]+/.exec(entry.replace(/^\n/, '')) ?? [];
  if (map.items.some((pair) => keyOf(pair) === key)) throw new Error(`${path.join('.')}.${key} exists`);
  if (map.flow) return insertIntoFlow(text, map, entry);
  const [first] = map.items;
  if (first === undefined) throw new Error(`${path.join('.')} is empty`);
  const next = map.items.find((pair) => keyOf(pair) === before);
  const lines = indented(entry, columnOf(text, startOf(first)));
  if (next === undefined) return insert(text, endOfBlock(text, map), lines);
  // An empty line stays between both entries.
  const separated = lines.startsWith('\n') ? `${lines.slice(1)}\n` : lines;
  return insert(text, aboveComments(text, startOf(next)), separated);
}

/** Returns an entry of a block as text without indentation, with the comments directly above it. @throws Error if there is none */
export function readEntry(text: string, path: YamlPath, key: string): string {
  const map = findMap(text, path);
  const pair = map.items.find((item) => keyOf(item) === key);
  if (pair === undefined) throw new Error(`${path.join('.')} has no entry ${key}`);
  if (map.flow) return text.slice(startOf(pair), endOf(pair));
  const start = aboveComments(text, startOf(pair));
  const lines = text.slice(start, afterLine(text, endOf(pair))).trimEnd();
  return unindented(lines, columnOf(text, startOf(pair)));
}

/** Returns the item of a block list that contains a name, without its dash and indentation. @throws Error unless exactly one does */
export function readItem(text: string, path: YamlPath, name: string): string {
  const { item } = findItem(text, path, name);
  const [start] = rangeOf(item);
  return unindented(text.slice(start, endOf(item)), columnOf(text, start));
}

/**
 * Removes an entry from a map, with the comments directly above it and the empty line before them.
 * @throws Error if there is no such entry
 */
export function removeEntry(text: string, path: YamlPath, key: string): string {
  const map = findMap(text, path);
  const index = map.items.findIndex((pair) => keyOf(pair) === key);
  const pair = map.items[index];
  if (pair === undefined) throw new Error(`${path.join('.')} has no entry ${key}`);
  const end = endOf(pair);
  if (map.flow) return removeFromFlow(text, startOf(pair), end);
  return removeLines(text, startOf(pair), end);
}

/**
 * Adds an item to a list.
 * @param item text of the item without indentation and dash
 * @throws Error if there is no list at the path
 */
export function addItem(text: string, path: YamlPath, item: string): string {
  const list = findList(text, path);
  if (list.flow) return insertIntoFlow(text, list, item);
  const [first] = list.items;
  if (first === undefined) throw new Error(`${path.join('.')} is empty`);
  const dash = text.lastIndexOf('-', rangeOf(first)[0]);
  const lines = item.split('\n').map((line, index) => (index === 0 ? `- ${line}` : `  ${line}`));
  return insert(text, endOfBlock(text, list), indented(lines.join('\n'), columnOf(text, dash)));
}

/**
 * Removes the item of a list that contains a name. Longer names with it do not count.
 * @throws Error unless exactly one item does
 */
export function removeItem(text: string, path: YamlPath, name: string): string {
  const { list, item } = findItem(text, path, name);
  return withoutItem(text, list, item);
}

/** Removes all items of a list for which `isRemoved` returns true. */
export function removeItems<Value>(
  text: string,
  path: YamlPath,
  isRemoved: (value: Value) => boolean,
): string {
  const list = findList(text, path);
  // From the end, so that the positions of earlier items stay.
  return list.items
    .toReversed()
    .filter((item) => isRemoved((item as { toJSON(): Value }).toJSON()))
    .reduce((edited: string, item) => withoutItem(edited, list, item), text);
}

function withoutItem(text: string, list: YAMLSeq, item: unknown): string {
  const [start] = rangeOf(item);
  const end = endOf(item);
  return list.flow ? removeFromFlow(text, start, end) : removeLines(text, text.lastIndexOf('-', start), end);
}

function findItem(text: string, path: YamlPath, name: string): { list: YAMLSeq; item: unknown } {
  const list = findList(text, path);
  const pattern = wholeName(name);
  const found = list.items.filter((item) =>
    pattern.test(JSON.stringify((item as { toJSON(): unknown }).toJSON())),
  );
  if (found.length !== 1)
    throw new Error(`${path.join('.')} has ${found.length} items with ${name}, expected one`);
  return { list, item: found[0] };
}

/** Returns the pattern of a name that is not a part of a longer one. */
function wholeName(name: string): RegExp {
  return new RegExp(`(?<![\\w-])${name}(?![\\w-])`);
}

function findNode(text: string, path: YamlPath): unknown {
  const document = parseDocument(text, { merge: true });
  const [error] = document.errors;
  if (error !== undefined) throw error;
  return path.length === 0 ? document.contents : document.getIn(path, true);
}

function findMap(text: string, path: YamlPath): YAMLMap<Scalar, unknown> {
  const node = findNode(text, path);
  if (!isMap<Scalar, unknown>(node)) throw new Error(`${path.join('.')} is not a map`);
  return node;
}

function findList(text: string, path: YamlPath): YAMLSeq {
  const node = findNode(text, path);
  if (!isSeq(node)) throw new Error(`${path.join('.')} is not a list`);
  return node;
}

function keyOf({ key }: Pair<Scalar, unknown>): string {
  return String(key.value);
}

function rangeOf(node: unknown): Positioned['range'] {
  return (node as Positioned).range;
}

function startOf({ key }: Pair<Scalar, unknown>): number {
  return rangeOf(key)[0];
}

function startOfLine(text: string, position: number): number {
  return text.lastIndexOf('\n', position - 1) + 1;
}

function columnOf(text: string, position: number): number {
  return position - startOfLine(text, position);
}

/** Returns the start of the line at a position, or of the comments directly above it. */
function aboveComments(text: string, position: number): number {
  const start = startOfLine(text, position);
  const [comments = ''] = /(?:(?<=^|\n) *#[^\n]*\n)*$/.exec(text.slice(0, start)) ?? [];
  return start - comments.length;
}

function unindented(lines: string, column: number): string {
  return lines.replaceAll(new RegExp(`^ {0,${column}}`, 'gm'), '');
}

/** Returns the end of a node, without the comments and empty lines that follow it. */
function endOf(node: unknown): number {
  if (isPair(node)) return endOf(node.value === null || isEmptyScalar(node.value) ? node.key : node.value);
  if ((isMap(node) || isSeq(node)) && !node.flow && node.items.length > 0) return endOf(node.items.at(-1));
  return rangeOf(node)[1];
}

/** Returns whether a value is missing, as in `key:`. Its position is not that of the key. */
function isEmptyScalar(node: unknown): boolean {
  return isScalar(node) && node.value === null && node.source === '';
}

/** Returns the start of the line after a collection, without the comments and empty lines that follow it. */
function endOfBlock(text: string, collection: YAMLMap | YAMLSeq): number {
  return afterLine(text, endOf(collection));
}

/** Returns the end of the text before a position, without white space. */
function lastCharacter(text: string, end: number): number {
  return text.slice(0, end).trimEnd().length;
}

function afterLine(text: string, position: number): number {
  const end = text.indexOf('\n', position);
  return end === -1 ? text.length : end + 1;
}

function insert(text: string, position: number, lines: string): string {
  return `${text.slice(0, position)}${lines}\n${text.slice(position)}`;
}

function indented(lines: string, column: number): string {
  return lines.replaceAll(/^(?=.)/gm, ' '.repeat(column));
}

function removeLines(text: string, start: number, end: number): string {
  const from = aboveComments(text, start);
  const hasEmptyLineBefore = text.slice(0, from).endsWith('\n\n');
  const rest = text.slice(afterLine(text, end));
  const isLastOfBlock = rest === '' || rest.startsWith('\n');
  return text.slice(0, hasEmptyLineBefore && isLastOfBlock ? from - 1 : from) + rest;
}

/** Inserts before the closing bracket, on a line of its own if the items have lines of their own. */
function insertIntoFlow(text: string, collection: YAMLMap | YAMLSeq, item: string): string {
  const close = rangeOf(collection)[1] - 1;
  const last = lastCharacter(text, close);
  const isEmpty = collection.items.length === 0;
  const endsWithComma = text[last - 1] === ',';
  const first = collection.items[0] as Pair | Positioned | undefined;
  const firstStart = first === undefined ? last : rangeOf('range' in first ? first : first.key)[0];
  const isMultiline = text.slice(last, close).includes('\n');
  const separator = isMultiline ? `\n${' '.repeat(columnOf(text, firstStart))}` : ' ';
  const start = isEmpty ? '' : `${endsWithComma ? '' : ','}${separator}`;
  return `${text.slice(0, last)}${start}${item}${endsWithComma ? ',' : ''}${text.slice(last)}`;
}

function removeFromFlow(text: string, start: number, end: number): string {
  const before = text.slice(0, start);
  const after = text.slice(end);
  const comma = /,\s*$/.exec(before);
  if (comma !== null) {
    // A comma after the last item stays where it was.
    return before.slice(0, comma.index) + after;
  }
  return before + after.replace(/^,\s*/, '');
}
