import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type CacheLookup, createResponseCache, type ResponseCache } from './response-cache.ts';

const settings = { ttlMs: 60_000, staleWhileRevalidateMs: undefined, staleIfErrorMs: undefined };

/** Sends a request with one header. Resolves with the conditions that the service gets; undefined if it gets no request. */
async function conditionsOf(
  cache: ResponseCache,
  { target, language = 'de' }: { target: string; language?: string },
  headers: readonly string[],
): Promise<readonly string[] | undefined> {
  let received: readonly string[] | undefined;
  const lookup: CacheLookup = {
    upstream: 'service',
    target,
    owner: undefined,
    settings,
    sent: { pairs: ['accept-language', language], keyed: [] },
    fetch: async (conditions) => {
      received = conditions;
      return { status: 200, headers, body: Buffer.from(language) };
    },
  };
  const result = await cache.fetch(lookup);
  assert.equal(String(result?.response.body), language);
  return received;
}

function createCache(): ResponseCache {
  return createResponseCache(2 ** 26, { cache: () => undefined });
}

it('revalidates a no-cache response on every request (RFC 9111, section 5.2.2.4)', async () => {
  const cache = createCache();
  for (const control of ['no-cache', 'max-age=0', 's-maxage=0']) {
    const headers = ['etag', '"1"', 'cache-control', control];
    assert.deepEqual(await conditionsOf(cache, { target: control }, headers), []);
    for (let round = 0; round < 10; round += 1)
      assert.deepEqual(await conditionsOf(cache, { target: control }, headers), ['if-none-match', '"1"']);
  }
});

it('does not revalidate with other request headers after the Vary index evicts an entry (RFC 9111, section 4.1)', async () => {
  const cache = createCache();
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
