import { Failure } from './failure.ts';

/** Returns whether a version of the resource meets the preconditions of a request. */
export type Precondition = (version: number) => boolean;

/**
 * Checks the precondition of a write. Without a precondition, the write is unconditional.
 * @throws Failure `precondition-failed` with the current version
 */
export function requireMatch(precondition: Precondition | undefined, version: number): void {
  if (precondition === undefined || precondition(version)) return;
  throw new Failure('precondition-failed', { version });
}
