import { type Precondition, requireMatch } from '../precondition.ts';

/** Precondition headers of a request. */
export interface PreconditionHeaders {
  readonly ifMatch?: string | undefined;
  readonly ifNoneMatch?: string | undefined;
}

/** Returns the strong entity tag of a version (RFC 9110, section 8.8.3). */
export function entityTag(version: number): string {
  return `"${version}"`;
}

/**
 * Parses the preconditions of a request; undefined without either header. `If-Match` (RFC 9110, section 13.1.1) uses strong comparison:
 * `*` matches any version, a weak tag none. `If-None-Match` (section 13.1.2) uses weak comparison: `*` excludes all versions.
 */
export function parsePreconditions({ ifMatch, ifNoneMatch }: PreconditionHeaders): Precondition | undefined {
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  return (version) => isMatch(ifMatch, version) && !isNotModified(ifNoneMatch, version);
}

/**
 * Returns whether the response to a read can be 304. `If-Match` is evaluated first (RFC 9110, section 13.2.2).
 * @throws Failure `precondition-failed` if `If-Match` does not match
 */
export function isCurrent({ ifMatch, ifNoneMatch }: PreconditionHeaders, version: number): boolean {
  requireMatch((current) => isMatch(ifMatch, current), version);
  return isNotModified(ifNoneMatch, version);
}

function isMatch(header: string | undefined, version: number): boolean {
  if (header === undefined) return true;
  const tags = parseTags(header);
  return tags.includes('*') || tags.includes(entityTag(version));
}

function isNotModified(header: string | undefined, version: number): boolean {
  if (header === undefined) return false;
  const tags = parseTags(header).map((tag) => tag.replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(entityTag(version));
}

/** Splits a list of tags. A foreign tag with a comma is split too, but never into a tag of ours, which is digits in quotes. */
function parseTags(header: string): string[] {
  return header.split(',').map((tag) => tag.trim());
}
