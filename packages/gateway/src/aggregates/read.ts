import { Failure } from '@zerda/chassis/failure';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import { valueAt } from './json-path.ts';

export interface ReadOptions {
  /** Milliseconds the call may take; the upstream's own time by default. */
  readonly timeoutMs?: number | undefined;
  /** Where in the answer there must be something: names joined by dots. */
  readonly members: readonly string[];
}

/**
 * Reads JSON from an upstream: an object, a list, a number, true, false or null.
 * @throws what `Upstream.get` throws, and Failure `upstream-failed` for an answer that is not what it should be
 */
export async function read(
  upstream: Upstream,
  path: string,
  { timeoutMs, members }: ReadOptions,
): Promise<unknown> {
  const { data } = await upstream.get(path, { timeoutMs });
  return checked(data, upstream.name, members);
}

/** @throws Failure `upstream-failed` for an answer that is not what it should be */
export function checked(data: unknown, upstream: string, members: readonly string[]): unknown {
  // axios leaves what it cannot parse as text.
  if (typeof data === 'string') {
    throw new Failure('upstream-failed', { detail: `${upstream} answered something else than JSON.` });
  }
  const absent = members.find((member) => valueAt(data, member.split('.')) === undefined);
  if (absent === undefined) return data;
  throw new Failure('upstream-failed', {
    detail: `${upstream} answered something else than its contract: there is no ${absent}.`,
  });
}
