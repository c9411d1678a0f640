import { Failure } from '@zerda/chassis/failure';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import { valueAt } from './json-path.ts';
import { JsonText } from './json-text.ts';

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
): Promise<JsonText> {
  const { data } = await upstream.get<Buffer>(path, { timeoutMs, raw: true });
  return checked(parseJson(data, upstream.name), upstream.name, members);
}

/** @throws Failure `upstream-failed` for a body that is no JSON */
export function parseJson(body: Buffer, upstream: string): JsonText {
  try {
    return new JsonText(body);
  } catch (cause) {
    throw notJson(upstream, cause);
  }
}

function notJson(upstream: string, cause?: unknown): Failure {
  return new Failure('upstream-failed', {
    detail: `${upstream} answered something else than JSON.`,
    cause,
  });
}

/** @throws Failure `upstream-failed` for an answer that is not what it should be */
export function checked(json: JsonText, upstream: string, members: readonly string[]): JsonText {
  if (typeof json.value === 'string') throw notJson(upstream);
  const absent = members.find((member) => valueAt(json.value, member.split('.')) === undefined);
  if (absent === undefined) return json;
  throw new Failure('upstream-failed', {
    detail: `${upstream} answered something else than its contract: there is no ${absent}.`,
  });
}
