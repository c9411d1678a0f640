import { isUtf8 } from 'node:buffer';
import { valueAt } from './json-path.ts';

/** Deepest nesting of objects and arrays in a part. It protects clients that parse recursively. */
const maxDepth = 512;

/**
 * JSON of a part. It is parsed for inspection, and its text is passed on unchanged: a double cannot hold every digit of a JSON number
 * (RFC 8259, section 6).
 */
export class JsonText {
  readonly value: unknown;
  readonly #text: string;

  /** @throws Error if the bytes are not JSON in UTF-8 (RFC 8259, section 8.1) or are nested too deep */
  constructor(bytes: Buffer) {
    if (!isUtf8(bytes)) throw new Error('not UTF-8');
    const text = bytes.toString('utf8').replace(/^\uFEFF/, '');
    if (depthOf(text) > maxDepth) throw new Error(`nested deeper than ${maxDepth} levels`);
    this.value = JSON.parse(text);
    this.#text = text;
  }

  /** Returns the unchanged JSON text at a path; undefined if there is no value. */
  at(path: readonly string[]): string | undefined {
    const value = valueAt(this.value, path);
    if (value === undefined) return undefined;
    const start = path.reduce<number | undefined>(
      (position, step) => (position === undefined ? undefined : memberOf(this.#text, position, step)),
      skipBlanks(this.#text, 0),
    );
    // Some values have no text of their own, such as the length of an array.
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

/** Returns the position of an object's member or an array's element. This and the functions below require valid JSON. */
function memberOf(text: string, start: number, step: string): number | undefined {
  const isObject = text[start] === '{';
  if (!isObject && text[start] !== '[') return undefined;
  let position: number | undefined;
  let count = 0;
  let index = skipBlanks(text, start + 1);
  while (!closes(text.charCodeAt(index))) {
    let name = String(count);
    if (isObject) {
      const end = endOfString(text, index);
      name = nameOf(text.slice(index, end));
      index = skipBlanks(text, skipBlanks(text, end) + 1);
    }
    // The last of several members with one name counts, as in JSON.parse.
    if (name === step) position = index;
    index = skipBlanks(text, endOf(text, index));
    if (text.charCodeAt(index) === comma) index = skipBlanks(text, index + 1);
    count += 1;
  }
  return position;
}

function nameOf(quoted: string): string {
  return quoted.includes('\\') ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
}

function skipBlanks(text: string, start: number): number {
  let index = start;
  while (isBlank(text.charCodeAt(index))) index += 1;
  return index;
}

/** Returns the position after the string that starts at `start`. */
function endOfString(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === quote) return index + 1;
    if (code === backslash) index += 1;
  }
  return text.length;
}

/** Returns the position after the value that starts at `start`. */
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
