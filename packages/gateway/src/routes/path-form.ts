/**
 * Form of a path as sent, without the query.
 * - `plain`: gateway and service see the same path.
 * - `slashes`: the path contains encoded slashes. A service that decodes them before routing would see separators.
 * - `malformed`: the path is invalid, or a service could resolve it to another path.
 */
export type PathForm = 'plain' | 'slashes' | 'malformed';

/**
 * A path with the characters of RFC 3986, section 3.3, and complete percent-encodings. `[ ] | ^` are allowed too: browsers
 * send them unencoded (URL Standard, path percent-encode set), and no service treats them as separators.
 */
const validPath = /^(\/([A-Za-z0-9._~!$&'()*+,;=:@[\]|^-]|%[0-9A-Fa-f]{2})*)+$/;

/** A dot segment (RFC 3986, section 3.3), also with path parameters, which some servers remove first. */
const dotSegment = /^\.\.?(;|$)/;

/** Fast path: matches most paths, which need no further checks. */
const simplePath = /^(?:\/[A-Za-z0-9_~:@=-]+)+$/;

/** Paths that need decoding: a segment that begins with a dot, or an encoding of `% . / ; \\` or NUL. */
const suspiciousPath = /\/\.|%(?:00|2[5ef]|3b|5c|c[01]|e0%8[01])/i;

/** Returns the form of a path. Decodes only suspicious paths. */
export function formOf(path: string): PathForm {
  if (simplePath.test(path)) return 'plain';
  if (!validPath.test(path) || path.includes('//')) return 'malformed';
  if (!suspiciousPath.test(path)) return 'plain';
  const decodedOnce = decode(path);
  const decodedTwice = decode(decodedOnce);
  if (decodedTwice.includes('\0') || [path, decodedOnce, decodedTwice].some(hasDotSegment))
    return 'malformed';
  return countSeparators(decodedOnce) === countSeparators(path) &&
    countSeparators(decodedTwice) === countSeparators(path)
    ? 'plain'
    : 'slashes';
}

/** Some servers treat a backslash as a separator (URL Standard, special schemes). */
const separator = /[/\\]/;

function hasDotSegment(path: string): boolean {
  return path.split(separator).some((segment) => dotSegment.test(segment));
}

function countSeparators(path: string): number {
  return path.split(separator).length;
}

/** Overlong or invalid UTF-8 that lenient decoders accept as `.`, `/` or `\` (RFC 3629, section 10). */
const overlongEncodings: ReadonlyMap<string, string> = new Map([
  ...(['%c0%ae', '%c0%2e', '%e0%80%ae'].map((encoded) => [encoded, '.']) as [string, string][]),
  ...(['%c0%af', '%c0%2f', '%e0%80%af'].map((encoded) => [encoded, '/']) as [string, string][]),
  ...(['%c1%9c', '%c1%1c', '%e0%81%9c'].map((encoded) => [encoded, '\\']) as [string, string][]),
]);

/** Decodes one level, byte by byte. That suffices, because only ASCII characters matter here. */
function decode(path: string): string {
  return path.replaceAll(/%e0%8[01]%[0-9a-f]{2}|%c[01]%[0-9a-f]{2}|%[0-9a-f]{2}/gi, (encoded) => {
    const character = overlongEncodings.get(encoded.toLowerCase());
    if (character !== undefined) return character;
    return encoded.length > 3 ? encoded : String.fromCharCode(Number.parseInt(encoded.slice(1), 16));
  });
}
