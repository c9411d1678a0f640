/**
 * What a path is, as it was sent and without its query. `slashes`: it holds encoded slashes, which are part of a segment here and may
 * be a separator to a service that decodes them first. `malformed`: no path, or one that a service could resolve to another path.
 */
export type PathForm = 'plain' | 'slashes' | 'malformed';

/**
 * Characters of a path by RFC 3986, section 3.3, with whole percent-encodings, and those that browsers send although they should
 * encode them (URL Standard, path percent-encode set): no service takes any of `[ ] | ^` for a separator.
 */
const characters = /^(\/([A-Za-z0-9._~!$&'()*+,;=:@[\]|^-]|%[0-9A-Fa-f]{2})*)+$/;

/** A dot segment (RFC 3986, section 3.3), also one that has parameters, which some servers remove first. */
const dotSegment = /^\.\.?(;|$)/;

/** Most paths: they need no closer look. */
const simple = /^(?:\/[A-Za-z0-9_~:@=-]+)+$/;

/** What may make a path malformed or have it hold slashes: a segment that begins with a dot, and encodings of `% . / ; \\` and NUL. */
const suspicious = /\/\.|%(?:00|2[5ef]|3b|5c|c[01]|e0%8[01])/i;

/** The form of a path. Only a suspicious path is decoded. */
export function formOf(path: string): PathForm {
  if (simple.test(path)) return 'plain';
  if (!characters.test(path) || path.includes('//')) return 'malformed';
  if (!suspicious.test(path)) return 'plain';
  const once = decode(path);
  const twice = decode(once);
  if (twice.includes('\0') || [path, once, twice].some(hasDotSegment)) return 'malformed';
  return separators(once) === separators(path) && separators(twice) === separators(path)
    ? 'plain'
    : 'slashes';
}

/** A backslash separates as well: some servers read it so (URL Standard, special schemes). */
const separator = /[/\\]/;

function hasDotSegment(path: string): boolean {
  return path.split(separator).some((segment) => dotSegment.test(segment));
}

function separators(path: string): number {
  return path.split(separator).length;
}

/** Encodings longer than necessary, or broken, which lax decoders still take for `.`, `/` and `\` (RFC 3629, section 10). */
const overlong: ReadonlyMap<string, string> = new Map([
  ...(['%c0%ae', '%c0%2e', '%e0%80%ae'].map((encoded) => [encoded, '.']) as [string, string][]),
  ...(['%c0%af', '%c0%2f', '%e0%80%af'].map((encoded) => [encoded, '/']) as [string, string][]),
  ...(['%c1%9c', '%c1%1c', '%e0%81%9c'].map((encoded) => [encoded, '\\']) as [string, string][]),
]);

/** Decodes one level, byte by byte: the characters that matter here are ASCII, and what is no encoding stays. */
function decode(path: string): string {
  return path.replaceAll(/%e0%8[01]%[0-9a-f]{2}|%c[01]%[0-9a-f]{2}|%[0-9a-f]{2}/gi, (encoded) => {
    const known = overlong.get(encoded.toLowerCase());
    if (known !== undefined) return known;
    return encoded.length > 3 ? encoded : String.fromCharCode(Number.parseInt(encoded.slice(1), 16));
  });
}
