import { Failure } from '@zerda/chassis/failure';
import { reasonOf, type UnavailableReason } from '@zerda/chassis/http-client/call-outcome';
import { decodeBody } from '@zerda/chassis/http-client/content-coding';
import { statusError } from '@zerda/chassis/http-client/undici-adapter';
import type { Upstream } from '@zerda/chassis/http-client/upstream';
import { AxiosHeaders, type InternalAxiosRequestConfig } from 'axios';
import type { Found, Question } from '../cache/answer-cache.ts';
import { fetchHeaders, type SentHeaders } from '../cache/cached-request.ts';
import type { WholeAnswer } from '../cache/kept-answer.ts';
import { ownerOf } from '../cache/owner.ts';
import { askWhole } from '../cache/whole-answer.ts';
import { valuesOf } from '../header-pairs.ts';
import type { cacheSettings } from '../policies/cache.ts';
import type { PolicyResources } from '../policies/resources.ts';
import type { Visit } from '../policies/visit.ts';
import type { JsonText } from './json-text.ts';
import { checked, parseJson, type ReadOptions, read } from './read.ts';

/** What a part says. */
export interface PartContent {
  readonly content: JsonText;
  /** Why it is old, when nothing newer could be had. */
  readonly stale?: { readonly reason: UnavailableReason; readonly seconds: number } | undefined;
}

export interface ReadKeptOptions extends ReadOptions {
  /** Pattern of the aggregate, as metrics have it. */
  readonly pattern: string;
  readonly settings: NonNullable<ReturnType<typeof cacheSettings>>;
  readonly visit: Visit;
}

/** No header of the client reaches a part but its token. */
const accept = ['accept', 'application/json'];
const sent: SentHeaders = { pairs: accept, keyed: accept };

/** JSON of answers that are kept: an answer is parsed once. */
const parsed = new WeakMap<WholeAnswer, JsonText>();

/**
 * As `read`, for a part whose answers are kept: they are the same as those of a route to the same path when that sends the same
 * headers.
 * @throws what `read` throws, when there is nothing that could be shown instead
 */
export async function readKept(
  upstream: Upstream,
  path: string,
  { pattern, settings, visit, timeoutMs, members }: ReadKeptOptions,
  { cache, metrics, passesAnswer, upstreamTimeoutMs }: PolicyResources,
): Promise<PartContent> {
  const { request, context, caller } = visit;
  const { authorization } = request.headers;
  const ask = async (): Promise<PartContent> => ({
    content: await read(upstream, path, { timeoutMs, members }),
  });
  if (authorization !== undefined && caller === undefined) return ask();
  const question: Question = {
    ...{ upstream: upstream.name, target: path, owner: ownerOf(caller, authorization), sent, settings },
    ask: (conditions) =>
      askWhole({
        ...{ upstream, target: path, context, passesAnswer },
        headers: (ms) => fetchHeaders(sent, { context, ms, authorization, conditions }),
        timeoutMs: timeoutMs ?? upstreamTimeoutMs,
        retries: 1,
        maxBytes: settings.maxBytes,
      }),
  };
  const found = cache.find(question) ?? (await cache.fetch(question));
  metrics.cacheAsked(pattern, found?.outcome ?? 'bypass');
  if (found === undefined) return ask();
  const content = await contentOf(found, upstream.name, settings.maxBytes);
  return { content: checked(content, upstream.name, members), stale: staleness(found) };
}

async function contentOf({ answer }: Found, upstream: string, maxBytes: number): Promise<JsonText> {
  const known = parsed.get(answer);
  if (known !== undefined) return known;
  const { status, headers, body } = answer;
  const coding = valuesOf(headers, 'content-encoding').join(', ');
  const decoded = await decodeBody(body, coding === '' ? undefined : coding, maxBytes).catch(
    (cause: unknown) => {
      throw new Failure('upstream-failed', {
        detail: `${upstream} answered in a content coding that cannot be decoded.`,
        cause,
      });
    },
  );
  if (status < 200 || status >= 300) throw errorOf(answer, decoded);
  const json = parseJson(decoded, upstream);
  parsed.set(answer, json);
  return json;
}

/** What cannot be parsed stays text, as with axios. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function errorOf({ status, headers }: WholeAnswer, body: Buffer): Error {
  const named = new AxiosHeaders();
  for (let index = 0; index < headers.length; index += 2) {
    named.set((headers[index] ?? '').toLowerCase(), headers[index + 1] ?? '');
  }
  const config = {} as InternalAxiosRequestConfig;
  return statusError({ status, statusText: '', headers: named, data: parse(body.toString('utf8')), config });
}

function staleness({ outcome, failure, ageMs }: Found): PartContent['stale'] {
  if (outcome !== 'stale' || failure === undefined) return undefined;
  return { reason: reasonOf(failure), seconds: Math.floor(ageMs / 1000) };
}
