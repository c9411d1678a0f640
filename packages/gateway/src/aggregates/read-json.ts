import { Failure } from '@zerda/chassis/failure';
import type { Upstream } from '@zerda/upstream/upstream';
import { valueAt } from './json-path.ts';
import { JsonText } from './json-text.ts';

export interface ReadJsonOptions {
  /** Timeout in milliseconds; the default is that of the upstream. */
  readonly timeoutMs?: number | undefined;
  /** Path pattern of the request, for spans. */
  readonly template: string;
  /** Paths that the response must contain: member names joined by dots. */
  readonly members: readonly string[];
}

/**
 * Fetches JSON from an upstream: any value except a string.
 * @throws what `Upstream.get` throws, and Failure `upstream-failed` if the response is not JSON or lacks a required member
 */
export async function readJson(
  upstream: Upstream,
  path: string,
  { timeoutMs, members, template }: ReadJsonOptions,
): Promise<JsonText> {
  const { data } = await upstream.get<Buffer>(path, { timeoutMs, template, raw: true });
  return requireMembers(parseJson(data, upstream.name), upstream.name, members);
}

/** Parses a response body. @throws Failure `upstream-failed` if it is not JSON */
export function parseJson(body: Buffer, upstream: string): JsonText {
  try {
    return new JsonText(body);
  } catch (cause) {
    throw notJson(upstream, cause);
  }
}

function notJson(upstream: string, cause?: unknown): Failure {
  return new Failure('upstream-failed', {
    detail: `The response of ${upstream} is not JSON.`,
    cause,
  });
}

/** Returns the JSON if it has all required members. @throws Failure `upstream-failed` if not, or if it is a string */
export function requireMembers(json: JsonText, upstream: string, members: readonly string[]): JsonText {
  if (typeof json.value === 'string') throw notJson(upstream);
  const absent = members.find((member) => valueAt(json.value, member.split('.')) === undefined);
  if (absent === undefined) return json;
  throw new Failure('upstream-failed', {
    detail: `The response of ${upstream} has no member ${absent}.`,
  });
}
