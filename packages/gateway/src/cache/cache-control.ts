import { valuesOf } from '../header-pairs.ts';

/** Directives of a cache: names in lower case; '' for those without a value. */
export type Directives = ReadonlyMap<string, string>;

/**
 * Directives of `Cache-Control`; one that is given twice holds as the first (RFC 9111, section 4.2.1). Commas in quoted values separate
 * nothing.
 */
export function directivesOf(header: string): Directives {
  const directives = new Map<string, string>();
  const parts = header.includes('"')
    ? (header.match(/(?:[^,"]|"(?:[^"\\]|\\.)*"?)+/g) ?? [])
    : header.split(',');
  for (const part of parts) {
    const sign = part.indexOf('=');
    const name = (sign < 0 ? part : part.slice(0, sign)).trim().toLowerCase();
    const value = sign < 0 ? '' : part.slice(sign + 1).trim();
    if (name !== '' && !directives.has(name)) directives.set(name, value.replace(/^"(.*)"$/, '$1'));
  }
  return directives;
}

const key = `[a-z*][a-z0-9_.*-]*`;
const bareItem = [
  String.raw`-?\d{1,12}\.\d{1,3}`,
  String.raw`-?\d{1,15}`,
  String.raw`"(?:[ !#-\[\]-~]|\\["\\])*"`,
  String.raw`[A-Za-z*][!#$%&'*+.^_\`|~0-9A-Za-z:/-]*`,
  ':[A-Za-z0-9+/]*={0,2}:',
  String.raw`\?[01]`,
].join('|');
const parameters = `(?:; *${key}(?:=(?:${bareItem}))?)*`;
const member = new RegExp(String.raw`(${key})(?:=(${bareItem}))?${parameters}(?:[ \t]*(,)[ \t]*|$)`, 'y');

/** Directives whose values are numbers of seconds. */
const inSeconds = new Set(['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error']);

/**
 * Directives of `CDN-Cache-Control`, which are for caches in front of a service and hold instead of `Cache-Control` and `Expires` (RFC
 * 9213, section 3). Undefined when there are none, or when it is not the dictionary of RFC 9651 that it has to be: it is ignored then
 * (RFC 9213, section 2.1). Inner lists, which no directive has, are taken for errors.
 */
export function targetedDirectivesOf(headers: readonly string[]): Directives | undefined {
  const values = valuesOf(headers, 'cdn-cache-control');
  if (values.length === 0) return undefined;
  const text = values.join(', ').replace(/^ +| +$/g, '');
  const directives = new Map<string, string>();
  let last = true;
  member.lastIndex = 0;
  while (member.lastIndex < text.length) {
    const found = member.exec(text);
    if (found === null) return undefined;
    const [, name = '', value = '', comma] = found;
    if (inSeconds.has(name) && !/^\d+$/.test(value)) return undefined;
    last = comma === undefined;
    directives.set(name, value);
  }
  return last && directives.size > 0 ? directives : undefined;
}

/** The largest number of seconds that is told from others (RFC 9111, section 1.2.2). */
const mostSeconds = 2 ** 31;

/** A whole number of seconds as milliseconds; undefined for anything else. */
export function secondsIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Math.min(Number(text), mostSeconds) * 1000 : undefined;
}
