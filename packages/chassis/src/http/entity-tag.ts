import { Failure } from '../failure.ts';

/** Tells whether a write may go ahead on the version it would change. */
export type IfMatch = (version: number) => boolean;

/** The strong entity tag of a row's version (RFC 9110, section 8.8.3). */
export function entityTag(version: number): string {
  return `"${version}"`;
}

/**
 * Reads `If-Match` (RFC 9110, section 13.1.1): `*` takes any version, a list takes those it names by strong
 * comparison, so a weak tag names none. Undefined when the header is absent.
 */
export function parseIfMatch(header: string | undefined): IfMatch | undefined {
  if (header === undefined) return undefined;
  const tags = listOf(header);
  return tags.includes('*') ? () => true : (version) => tags.includes(entityTag(version));
}

/**
 * Lets a write go on only on a version its caller named; without `If-Match` it is unconditional.
 * @throws Failure `precondition-failed` with the current version's tag
 */
export function requireMatch(ifMatch: IfMatch | undefined, version: number): void {
  if (ifMatch === undefined || ifMatch(version)) return;
  throw new Failure('precondition-failed', { headers: { ETag: entityTag(version) } });
}

/** Whether `If-None-Match` names the current version, by weak comparison (RFC 9110, section 13.1.2). */
export function isNotModified(header: string | undefined, version: number): boolean {
  if (header === undefined) return false;
  const tags = listOf(header).map((tag) => tag.replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(entityTag(version));
}

/** Our tags are digits in quotes: a comma inside another server's tag can split it, but never into one of ours. */
function listOf(header: string): string[] {
  return header.split(',').map((tag) => tag.trim());
}
