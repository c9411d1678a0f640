import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type AnswerCache, createAnswerCache, type Question } from './answer-cache.ts';

const settings = { ttlMs: 60_000, staleWhileRevalidateMs: undefined, staleIfErrorMs: undefined };

/** Asks with one header; resolves with the conditions that the service gets, or undefined when it is not asked. */
async function conditionsOf(
  cache: AnswerCache,
  { target, language = 'de' }: { target: string; language?: string },
  headers: readonly string[],
): Promise<readonly string[] | undefined> {
  let asked: readonly string[] | undefined;
  const question: Question = {
    ...{ upstream: 'service', target, owner: undefined, settings },
    sent: { pairs: ['accept-language', language], keyed: [] },
    ask: async (conditions) => {
      asked = conditions;
      return { status: 200, headers, body: Buffer.from(language) };
    },
  };
  const found = await cache.fetch(question);
  assert.equal(String(found?.answer.body), language);
  return asked;
}

function create(): AnswerCache {
  return createAnswerCache(2 ** 26, { cache: () => undefined });
}

it('a response that needs validation is validated however soon the next request comes (RFC 9111, section 5.2.2.4)', async () => {
  const cache = create();
  for (const control of ['no-cache', 'max-age=0', 's-maxage=0']) {
    const headers = ['etag', '"1"', 'cache-control', control];
    assert.deepEqual(await conditionsOf(cache, { target: control }, headers), []);
    for (let round = 0; round < 10; round += 1)
      assert.deepEqual(await conditionsOf(cache, { target: control }, headers), ['if-none-match', '"1"']);
  }
});

it('what was learned of Vary may be forgotten, and no response is validated for other request headers (RFC 9111, section 4.1)', async () => {
  const cache = create();
  const headers = [
    'last-modified',
    'Sun, 06 Nov 1994 08:49:37 GMT',
    'vary',
    'accept-language',
    'cache-control',
    'max-age=0',
  ];
  await conditionsOf(cache, { target: '/a', language: 'de' }, headers);
  for (let other = 0; other < 10_000; other += 1) await conditionsOf(cache, { target: `/${other}` }, headers);
  assert.deepEqual(await conditionsOf(cache, { target: '/a', language: 'fr' }, headers), []);
});
