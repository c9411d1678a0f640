import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters } from 'jose';
import { startHttpServer } from '../../testing/http-server.ts';
import { recordedRequest } from '../../testing/tracer.ts';
import { eventually } from '../../testing/wait.ts';
import { Failure } from '../failure.ts';
import { runInContext } from '../request-context.ts';
import { fetchKeys } from './fetch-keys.ts';
import { createKeySet, type KeySetOptions } from './key-set.ts';

async function createKey(kid: string): Promise<JWK> {
  const { publicKey } = await generateKeyPair('EdDSA', { extractable: true });
  return { ...(await exportJWK(publicKey)), kid, alg: 'EdDSA' };
}

const headerOf = (kid: string): JWTHeaderParameters => ({ alg: 'EdDSA', kid });
const noToken = { payload: '', signature: '' };

/** Creates a key set whose issuer the test controls. */
function createTestKeySet(options: Partial<KeySetOptions> = {}) {
  const state = { keys: [] as JWK[], down: false, loads: 0 };
  const find = createKeySet({
    async load() {
      state.loads += 1;
      await new Promise((resolve) => setImmediate(resolve));
      if (state.down) throw new Error('issuer unavailable');
      return { keys: state.keys };
    },
    ...options,
  });
  return {
    state,
    prime: find.prime,
    age: find.ageMs,
    copy: find.copy,
    has: async (kid: string) => Boolean(await find(headerOf(kid), noToken)),
  };
}

const isUnavailable = (error: unknown) =>
  error instanceof Failure && error.code === 'identity-unavailable' && error.retryAfterSeconds === 1;

describe('keys of an issuer', () => {
  it('are loaded once for concurrent requests, and cached', async () => {
    const { state, has } = createTestKeySet();
    state.keys = [await createKey('a')];
    assert.deepEqual(await Promise.all([has('a'), has('a'), has('a')]), [true, true, true]);
    await has('a');
    assert.equal(state.loads, 1);
  });

  it('have the age of the last load', async () => {
    let now = 1000;
    const { state, has, age } = createTestKeySet({ now: () => now });
    assert.equal(age(), Number.POSITIVE_INFINITY);
    state.keys = [await createKey('a')];
    await has('a');
    now += 5000;
    assert.equal(age(), 5000);
  });

  it('that were never loaded cause identity-unavailable, and are loaded again soon', async () => {
    const { state, has } = createTestKeySet({ retryMs: 0 });
    state.down = true;
    await assert.rejects(has('a'), isUnavailable);
    state.down = false;
    state.keys = [await createKey('a')];
    assert.ok(await has('a'));
  });

  it('are not loaded for each request while the issuer is unavailable', async () => {
    const { state, has } = createTestKeySet({ retryMs: 60_000 });
    state.down = true;
    for (let call = 0; call < 20; call += 1) await assert.rejects(has('a'), isUnavailable);
    assert.equal(state.loads, 1);
  });

  it('are loaded by the first request if the load at startup failed', async () => {
    const { state, prime, has } = createTestKeySet({ retryMs: 60_000 });
    state.down = true;
    prime();
    await eventually(() => state.loads === 1);
    await new Promise((resolve) => setImmediate(resolve));
    state.down = false;
    state.keys = [await createKey('a')];
    assert.ok(await has('a'));
    assert.equal(state.loads, 2);
  });

  it('are loaded by the first request after another process asked for a copy in vain', async () => {
    const { state, copy, has } = createTestKeySet({ retryMs: 60_000 });
    state.down = true;
    await assert.rejects(copy(), isUnavailable);
    await assert.rejects(copy(), isUnavailable);
    state.down = false;
    state.keys = [await createKey('a')];
    assert.ok(await has('a'));
    assert.equal(state.loads, 3);
  });

  it('are loaded again for a request that joined the failed load at startup', async () => {
    const { state, prime, has } = createTestKeySet({ retryMs: 60_000 });
    state.keys = [await createKey('a')];
    state.down = true;
    prime();
    const first = has('a');
    assert.equal(state.loads, 1);
    // The first load fails in this turn of the event loop. The second one reads `state.down` in the next turn.
    await new Promise((resolve) => setImmediate(resolve));
    state.down = false;
    assert.ok(await first);
    assert.equal(state.loads, 2);
  });

  it('are waited for only once per request while the load is slow', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { prime, has } = createTestKeySet({ load: () => new Promise(() => undefined), waitMs: 3000 });
    prime();
    const rejected = assert.rejects(has('a'), isUnavailable);
    t.mock.timers.tick(3000);
    await rejected;
  });

  it('have a span of a request that waits for them, which fails with the load', async () => {
    const { state, has } = createTestKeySet({ retryMs: 0 });
    state.down = true;
    const { context, children } = recordedRequest();
    await assert.rejects(
      runInContext(context, () => has('a')),
      isUnavailable,
    );
    state.down = false;
    state.keys = [await createKey('a')];
    for (let time = 0; time < 2; time += 1) await runInContext(context, () => has('a'));
    const outcomes = children().map(({ key, failed, attributes }) => [key, failed, attributes['error.type']]);
    assert.deepEqual(outcomes[0], ['keys', true, 'load_failed']);
    assert.deepEqual(outcomes.at(-1), ['keys', false, undefined], 'the second request does not wait');
  });

  it('are reloaded for an unknown key, so that rotation rejects no valid token', async () => {
    const { state, has } = createTestKeySet({ cooldownMs: 0 });
    state.keys = [await createKey('a')];
    await has('a');
    state.keys = [...state.keys, await createKey('b')];
    assert.ok(await has('b'));
    assert.ok(await has('a'));
  });

  it('are not reloaded for each token with an unknown key', async () => {
    const { state, has } = createTestKeySet({ cooldownMs: 60_000 });
    state.keys = [await createKey('a')];
    await has('a');
    for (let call = 0; call < 20; call += 1)
      await assert.rejects(has('b'), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
    assert.equal(state.loads, 2, 'one load for all of them');
  });

  it('are reloaded for a new key immediately after a load', async () => {
    const { state, has } = createTestKeySet({ cooldownMs: 60_000 });
    state.keys = [await createKey('a')];
    await has('a');
    state.keys = [...state.keys, await createKey('b')];
    assert.ok(await has('b'));
    assert.equal(state.loads, 2);
  });

  it('cause identity-unavailable with Retry-After, not 401, after too many unknown keys', async () => {
    const state = { now: 0, loads: 0 };
    const keys = [await createKey('a')];
    const find = createKeySet({
      now: () => state.now,
      async load() {
        state.loads += 1;
        return { keys };
      },
      cooldownMs: 30_000,
    });
    const has = async (kid: string) => Boolean(await find(headerOf(kid), noToken));
    await has('a');
    state.now = 1000;
    await assert.rejects(has('x1'), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
    state.now = 1001;
    await assert.rejects(has('x2'), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
    keys.push(await createKey('b'));
    state.now = 11_000;
    for (let call = 0; call < 50; call += 1) {
      await assert.rejects(
        has(`y${call}`),
        (error) =>
          error instanceof Failure && error.code === 'identity-unavailable' && error.retryAfterSeconds === 20,
      );
    }
    await assert.rejects(has('b'), { code: 'identity-unavailable' });
    await assert.rejects(has('x1'), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
    assert.equal(state.loads, 3, 'many unknown keys cause few loads');
    state.now = 31_000;
    assert.ok(await has('b'));
    assert.ok(await has('a'));
  });

  it('cause identity-unavailable for an unknown key while the issuer is unavailable', async () => {
    const { state, has } = createTestKeySet({ cooldownMs: 0 });
    state.keys = [await createKey('a')];
    await has('a');
    state.down = true;
    await assert.rejects(has('b'), isUnavailable);
    assert.ok(await has('a'));
  });
});

describe('stale keys of an issuer', () => {
  /** Creates a key set with a clock and loads that the test controls. */
  async function createAgingKeySet(options: Partial<KeySetOptions> = {}) {
    const [a, b] = [await createKey('a'), await createKey('b')];
    const state = { keys: [a, b] as JWK[], now: 0, loads: 0, failures: 0, unavailable: false, held: false };
    const held: (() => void)[] = [];
    const find = createKeySet({
      now: () => state.now,
      async load() {
        state.loads += 1;
        if (state.held) await new Promise<void>((resolve) => held.push(resolve));
        else await nextTurn();
        if (state.unavailable) throw new Error('unavailable');
        return { keys: state.keys };
      },
      onFailure: () => {
        state.failures += 1;
      },
      ...options,
    });
    const accepts = (kid: string): Promise<boolean> =>
      Promise.resolve(find(headerOf(kid), noToken)).then(
        () => true,
        (error) => {
          if (isUnavailable(error)) throw error;
          return false;
        },
      );
    const release = (): void => {
      for (const end of held.splice(0)) end();
    };
    assert.ok(await accepts('a'));
    return { state, accepts, release, a, b };
  }
  const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
  const minutes = 60_000;

  it('are reloaded before use if they are older than maxAgeMs', async () => {
    const { state, accepts, b } = await createAgingKeySet();
    state.keys = [b];
    state.now = 9.5 * minutes + 1;
    assert.equal(await accepts('a'), false, 'the withdrawn key');
    assert.equal(await accepts('b'), true);
    assert.equal(state.loads, 2);
  });

  it('are reloaded once for all concurrent requests', async () => {
    const { state, accepts, release, b } = await createAgingKeySet();
    state.keys = [b];
    state.held = true;
    state.now = 60 * minutes;
    const requests = Array.from({ length: 50 }, (_, index) => accepts(index % 2 === 0 ? 'a' : 'b'));
    await nextTurn();
    release();
    assert.deepEqual(
      await Promise.all(requests),
      requests.map((_, index) => index % 2 === 1),
    );
    assert.equal(state.loads, 2);
  });

  it('are reloaded in the background before maxAgeMs, without waiting requests', async () => {
    const { state, accepts, release } = await createAgingKeySet();
    state.now = 7.7 * minutes;
    state.held = true;
    assert.deepEqual(await Promise.all([accepts('a'), accepts('b'), accepts('a')]), [true, true, true]);
    assert.equal(state.loads, 2);
    release();
    await nextTurn();
    state.held = false;
    state.now = 17 * minutes;
    state.unavailable = true;
    assert.equal(await accepts('a'), true, 'the age counts from the background load');
  });

  it('count their age from the start of a load, since a key can be withdrawn while the response is in transit', async () => {
    const { state, accepts, release, b } = await createAgingKeySet();
    state.held = true;
    state.now = 9 * minutes;
    await accepts('a');
    state.now = 12 * minutes;
    const waiting = accepts('a');
    release();
    await waiting;
    state.held = false;
    state.keys = [b];
    state.now = 18.6 * minutes;
    assert.equal(await accepts('a'), false);
  });

  it('are used for at most an hour while the issuer is unavailable, and requests do not wait again', async () => {
    const { state, accepts, release } = await createAgingKeySet();
    state.unavailable = true;
    state.now = 10 * minutes;
    assert.equal(await accepts('a'), true);
    assert.equal(state.failures, 1, 'after a failed load');
    state.held = true;
    for (; state.now < 69 * minutes; state.now += 1500) {
      // The held load has not ended, so the request does not wait for it.
      assert.equal(await accepts('a'), true);
      release();
      await nextTurn();
    }
    state.held = false;
    state.now = 69.6 * minutes;
    await assert.rejects(accepts('a'), isUnavailable);
    state.unavailable = false;
    state.now += 1001;
    assert.equal(await accepts('a'), true);
  });

  it('are replaced soon after the issuer is available again', async () => {
    const { state, accepts, b } = await createAgingKeySet();
    state.unavailable = true;
    state.now = 10 * minutes;
    await accepts('a');
    state.unavailable = false;
    state.keys = [b];
    state.now += 30_001;
    assert.equal(await accepts('a'), false, 'a failed load counts for 30 seconds');
  });

  it('are used if the issuer does not respond in time, and only the first requests wait', async () => {
    const { state, accepts, release, b } = await createAgingKeySet({ waitMs: 20 });
    state.keys = [b];
    state.held = true;
    state.now = 10 * minutes;
    assert.deepEqual(await Promise.all([accepts('a'), accepts('b')]), [true, true]);
    state.now += 1000;
    const before = performance.now();
    for (let call = 0; call < 20; call += 1) await accepts('a');
    assert.ok(performance.now() - before < 200, 'later requests do not wait');
    assert.equal(state.loads, 2, 'one load at a time');
    state.held = false;
    release();
    await nextTurn();
    assert.equal(await accepts('a'), false, 'the late response is used');
  });
});

describe('fetchKeys', () => {
  async function serveResponse(
    t: TestContext,
    status: number,
    body: string,
    location?: string,
  ): Promise<string> {
    const { url } = await startHttpServer(t, (_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...(location && { location }) });
      response.end(body);
    });
    return `${url}/keys`;
  }

  it('returns the keys', async (t) => {
    const keys = [await createKey('a')];
    assert.deepEqual(await fetchKeys(await serveResponse(t, 200, JSON.stringify({ keys })))(), { keys });
  });

  it('rejects redirects, error statuses and invalid or oversized bodies', async (t) => {
    const elsewhere = await serveResponse(t, 200, '{"keys":[]}');
    await assert.rejects(fetchKeys(await serveResponse(t, 302, '', elsewhere))());
    await assert.rejects(fetchKeys(await serveResponse(t, 500, '{"keys":[]}'))(), /returned status 500/);
    await assert.rejects(fetchKeys(await serveResponse(t, 200, '<html>'))());
    await assert.rejects(fetchKeys(await serveResponse(t, 200, ' '.repeat(300_000)))(), /more than/);
    const find = createKeySet({ load: fetchKeys(await serveResponse(t, 200, '{"keys":7}')) });
    await assert.rejects(async () => find(headerOf('a'), noToken), isUnavailable);
  });
});

describe('keys of an issuer with fallbacks', () => {
  /** Creates a key set whose issuer is unavailable and whose second fallback has a copy. */
  function createKeySetWithCopy(options: Partial<KeySetOptions> = {}) {
    const state = { keys: [] as JWK[], ageMs: 0, loads: 0, now: 10_000_000 };
    const created = createTestKeySet({
      fallbacks: [
        async () => {
          throw new Error('no copy');
        },
        async () => {
          state.loads += 1;
          return { keys: state.keys, ageMs: state.ageMs };
        },
      ],
      maxAgeMs: 1000,
      maxStaleMs: 2000,
      retryMs: 0,
      cooldownMs: 100,
      now: () => state.now,
      ...options,
    });
    created.state.down = true;
    return { ...created, fallback: state };
  }

  it('come from the first fallback with a copy while the issuer is unavailable', async () => {
    const { has, fallback } = createKeySetWithCopy();
    fallback.keys = [await createKey('a')];
    assert.ok(await has('a'));
  });

  it('come from a fallback if the issuer does not respond in time', async () => {
    const { has, fallback } = createKeySetWithCopy({
      load: () => new Promise(() => undefined),
      fallbackAfterMs: 5,
    });
    fallback.keys = [await createKey('a')];
    assert.ok(await has('a'));
  });

  it('do not come from a fallback while the issuer responds', async () => {
    const { has, state, fallback } = createKeySetWithCopy();
    state.down = false;
    state.keys = [await createKey('a')];
    assert.ok(await has('a'));
    assert.equal(fallback.loads, 0);
  });

  it('expire with the age of the copy, so that copies do not prolong a withdrawn key', async () => {
    const { has, fallback } = createKeySetWithCopy();
    fallback.keys = [await createKey('a')];
    fallback.ageMs = 2500;
    assert.ok(await has('a'));
    fallback.now += 600;
    fallback.ageMs += 600;
    await assert.rejects(has('a'), isUnavailable);
  });

  it('are used without waiting if the copy is stale', async () => {
    const { has, state, fallback } = createKeySetWithCopy({ retryMs: 60_000 });
    fallback.keys = [await createKey('a')];
    fallback.ageMs = 1500;
    for (let call = 0; call < 20; call += 1) assert.ok(await has('a'));
    assert.equal(state.loads, 1);
  });

  it('are not replaced by an older copy', async () => {
    const { has, state, fallback } = createKeySetWithCopy();
    state.down = false;
    state.keys = [await createKey('new')];
    assert.ok(await has('new'));
    state.down = true;
    fallback.keys = [await createKey('withdrawn')];
    fallback.ageMs = 2500;
    fallback.now += 1500;
    await assert.rejects(has('withdrawn'), isUnavailable);
    assert.ok(await has('new'));
  });
});
