import { valuesOf } from '../headers/header-pairs.ts';

/** Cache directives: lower-case name to value, which is '' for a directive without one. */
export type Directives = ReadonlyMap<string, string>;

/** Parses `Cache-Control`. The first of several directives of one name counts (RFC 9111, section 4.2.1). Quoted values may contain commas. */
export function directivesOf(header: string): Directives {
  const directives = new Map<string, string>();
  const parts = header.includes('"')
    ? (header.match(/(?:[^,"]|"(?:[^"\\]|\\.)*"?)+/g) ?? [])
    : header.split(',');
  for (const part of parts) {
    const equals = part.indexOf('=');
    const name = (equals < 0 ? part : part.slice(0, equals)).trim().toLowerCase();
    const value = equals < 0 ? '' : part.slice(equals + 1).trim();
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

/** Directives whose value is delta-seconds. */
const deltaSecondsDirectives = new Set(['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error']);

/**
 * Parses `CDN-Cache-Control`, which replaces `Cache-Control` and `Expires` for the gateway (RFC 9213, section 3). Undefined if it is
 * missing, empty or not a valid dictionary of RFC 9651: caches ignore it then (RFC 9213, section 2.1). Inner lists count as invalid,
 * because no directive has one.
 */
export function targetedDirectivesOf(headers: readonly string[]): Directives | undefined {
  const values = valuesOf(headers, 'cdn-cache-control');
  if (values.length === 0) return undefined;
  const text = values.join(', ').replace(/^ +| +$/g, '');
  const directives = new Map<string, string>();
  let complete = true;
  member.lastIndex = 0;
  while (member.lastIndex < text.length) {
    const match = member.exec(text);
    if (match === null) return undefined;
    const [, name = '', value = '', comma] = match;
    if (deltaSecondsDirectives.has(name) && !/^\d+$/.test(value)) return undefined;
    complete = comma === undefined;
    directives.set(name, value);
  }
  return complete && directives.size > 0 ? directives : undefined;
}

/** Larger values count as this one (RFC 9111, section 1.2.2). */
const maxDeltaSeconds = 2 ** 31;

/** Converts delta-seconds to milliseconds; undefined for any other text. */
export function deltaSecondsToMs(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text)
    ? Math.min(Number(text), maxDeltaSeconds) * 1000
    : undefined;
}
