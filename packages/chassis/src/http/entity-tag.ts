import { Failure } from '../failure.ts';

/** Whether the preconditions of a request allow it on a version of the resource. */
export type Precondition = (version: number) => boolean;

/** The headers of a request that name versions. */
export interface PreconditionHeaders {
  readonly ifMatch?: string | undefined;
  readonly ifNoneMatch?: string | undefined;
}

/** The strong entity tag of a row's version (RFC 9110, section 8.8.3). */
export function entityTag(version: number): string {
  return `"${version}"`;
}

/**
 * Reads the preconditions of a request. `If-Match` (RFC 9110, section 13.1.1): `*` takes any version, a list takes those it names by
 * strong comparison, so a weak tag names none. `If-None-Match` (section 13.1.2) takes those it does not name by weak comparison, and
 * `*` takes none. Undefined without either.
 */
export function parsePreconditions({ ifMatch, ifNoneMatch }: PreconditionHeaders): Precondition | undefined {
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  return (version) => isMatch(ifMatch, version) && !isNotModified(ifNoneMatch, version);
}

/**
 * Allows a write only on a version that its caller named; without preconditions it is unconditional.
 * @throws Failure `precondition-failed` with the current version's tag
 */
export function requireMatch(precondition: Precondition | undefined, version: number): void {
  if (precondition === undefined || precondition(version)) return;
  throw new Failure('precondition-failed', { headers: { ETag: entityTag(version) } });
}

/**
 * Whether a read can do without the representation. `If-Match` comes first (RFC 9110, section 13.2.2).
 * @throws Failure `precondition-failed` when `If-Match` names another version
 */
export function isCurrent({ ifMatch, ifNoneMatch }: PreconditionHeaders, version: number): boolean {
  requireMatch((current) => isMatch(ifMatch, current), version);
  return isNotModified(ifNoneMatch, version);
}

function isMatch(header: string | undefined, version: number): boolean {
  if (header === undefined) return true;
  const tags = listOf(header);
  return tags.includes('*') || tags.includes(entityTag(version));
}

function isNotModified(header: string | undefined, version: number): boolean {
  if (header === undefined) return false;
  const tags = listOf(header).map((tag) => tag.replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(entityTag(version));
}

/** Our tags are digits in quotes: a comma inside another server's tag can split it, but never into one of ours. */
function listOf(header: string): string[] {
  return header.split(',').map((tag) => tag.trim());
}
