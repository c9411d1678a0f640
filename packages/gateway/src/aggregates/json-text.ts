import { isUtf8 } from 'node:buffer';
import { valueAt } from './json-path.ts';

/** Levels of objects and lists that a part may have: a client that reads them recursively must not run out of stack. */
const maxDepth = 512;

/**
 * JSON of a part, parsed to be examined and kept as text to be passed on: a parsed number would lose digits that a double cannot hold
 * (RFC 8259, section 6), and would not be written as it was read.
 */
export class JsonText {
  readonly value: unknown;
  readonly #text: string;

  /** @throws Error for bytes that are not JSON in UTF-8 (RFC 8259, section 8.1), or nested too deep */
  constructor(bytes: Buffer) {
    if (!isUtf8(bytes)) throw new Error('not UTF-8');
    const text = bytes.toString('utf8').replace(/^\uFEFF/, '');
    if (depthOf(text) > maxDepth) throw new Error(`nested deeper than ${maxDepth} levels`);
    this.value = JSON.parse(text);
    this.#text = text;
  }

  /** Returns the JSON at a path, digit for digit; undefined where the path leads nowhere. */
  at(path: readonly string[]): string | undefined {
    const value = valueAt(this.value, path);
    if (value === undefined) return undefined;
    const start = path.reduce<number | undefined>(
      (position, step) => (position === undefined ? undefined : memberOf(this.#text, position, step)),
      skipBlanks(this.#text, 0),
    );
    // A value that is in no text, such as the length of a list, is written as any other.
    return start === undefined ? JSON.stringify(value) : this.#text.slice(start, endOf(this.#text, start));
  }
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;

const opens = (code: number): boolean => code === 0x7b || code === 0x5b;
const closes = (code: number): boolean => code === 0x7d || code === 0x5d;
const isBlank = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === quote) index = endOfString(text, index) - 1;
    else if (opens(code)) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (closes(code)) depth -= 1;
  }
  return deepest;
}

/** Position of the value that an object has under a name, or a list at an index. What follows relies on the text being JSON. */
function memberOf(text: string, start: number, step: string): number | undefined {
  const isObject = text[start] === '{';
  if (!isObject && text[start] !== '[') return undefined;
  let found: number | undefined;
  let count = 0;
  let index = skipBlanks(text, start + 1);
  while (!closes(text.charCodeAt(index))) {
    let name = String(count);
    if (isObject) {
      const end = endOfString(text, index);
      name = nameOf(text.slice(index, end));
      index = skipBlanks(text, skipBlanks(text, end) + 1);
    }
    // The last of several members of one name counts, as for JSON.parse.
    if (name === step) found = index;
    index = skipBlanks(text, endOf(text, index));
    if (text.charCodeAt(index) === comma) index = skipBlanks(text, index + 1);
    count += 1;
  }
  return found;
}

function nameOf(quoted: string): string {
  return quoted.includes('\\') ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
}

function skipBlanks(text: string, start: number): number {
  let index = start;
  while (isBlank(text.charCodeAt(index))) index += 1;
  return index;
}

/** Position behind the string that begins there. */
function endOfString(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === quote) return index + 1;
    if (code === backslash) index += 1;
  }
  return text.length;
}

/** Position behind the value that begins there. */
function endOf(text: string, start: number): number {
  const first = text.charCodeAt(start);
  if (first === quote) return endOfString(text, start);
  let index = start;
  if (!opens(first)) {
    while (index < text.length && !endsScalar(text.charCodeAt(index))) index += 1;
    return index;
  }
  let depth = 0;
  do {
    const code = text.charCodeAt(index);
    if (code === quote) index = endOfString(text, index) - 1;
    else if (opens(code)) depth += 1;
    else if (closes(code)) depth -= 1;
    index += 1;
  } while (depth > 0);
  return index;
}

function endsScalar(code: number): boolean {
  return code === comma || closes(code) || isBlank(code);
}
