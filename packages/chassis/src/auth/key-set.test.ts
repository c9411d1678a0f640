import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters } from 'jose';
import { until } from '../events/testing-transport.ts';
import { Failure } from '../failure.ts';
import { fetchKeys } from './fetch-keys.ts';
import { createKeySet, type KeySetOptions } from './key-set.ts';

async function key(kid: string): Promise<JWK> {
  const { publicKey } = await generateKeyPair('EdDSA', { extractable: true });
  return { ...(await exportJWK(publicKey)), kid, alg: 'EdDSA' };
}

const named = (kid: string): JWTHeaderParameters => ({ alg: 'EdDSA', kid });
const noToken = { payload: '', signature: '' };

/** An issuer whose keys and health a test decides. */
function issuer(options: Partial<KeySetOptions> = {}) {
  const state = { keys: [] as JWK[], away: false, loads: 0 };
  const find = createKeySet({
    async load() {
      state.loads += 1;
      await new Promise((resolve) => setImmediate(resolve));
      if (state.away) throw new Error('away');
      return { keys: state.keys };
    },
    ...options,
  });
  return {
    state,
    prime: find.prime,
    has: async (kid: string) => Boolean(await find(named(kid), noToken)),
  };
}

const unavailable = (error: unknown) =>
  error instanceof Failure && error.code === 'identity-unavailable' && error.headers['Retry-After'] === '1';

describe('keys of an issuer', () => {
  it('are loaded once for all who wait, and kept', async () => {
    const { state, has } = issuer();
    state.keys = [await key('a')];
    assert.deepEqual(await Promise.all([has('a'), has('a'), has('a')]), [true, true, true]);
    await has('a');
    assert.equal(state.loads, 1);
  });

  it('that were never had make the answer unknown, and are asked for again soon', async () => {
    const { state, has } = issuer({ retryMs: 0 });
    state.away = true;
    await assert.rejects(has('a'), unavailable);
    state.away = false;
    state.keys = [await key('a')];
    assert.ok(await has('a'));
  });

  it('are not asked for by everybody while the issuer is away', async () => {
    const { state, has } = issuer({ retryMs: 60_000 });
    state.away = true;
    for (let call = 0; call < 20; call += 1) await assert.rejects(has('a'), unavailable);
    assert.equal(state.loads, 1);
  });

  it('are loaded by the first request when they could not be loaded at the start', async () => {
    const { state, prime, has } = issuer({ retryMs: 60_000 });
    state.away = true;
    prime();
    await until(() => state.loads === 1);
    await new Promise((resolve) => setImmediate(resolve));
    state.away = false;
    state.keys = [await key('a')];
    assert.ok(await has('a'));
    assert.equal(state.loads, 2);
  });

  it('are loaded again for a request that joined the load at the start, which failed', async () => {
    const { state, prime, has } = issuer({ retryMs: 60_000 });
    state.keys = [await key('a')];
    state.away = true;
    prime();
    const first = has('a');
    assert.equal(state.loads, 1);
    // The load fails in this turn of the event loop; the next one looks at the issuer in the turn after.
    await new Promise((resolve) => setImmediate(resolve));
    state.away = false;
    assert.ok(await first);
    assert.equal(state.loads, 2);
  });

  it('are waited for once by a request while the load is slow', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { prime, has } = issuer({ load: () => new Promise(() => undefined), waitMs: 3000 });
    prime();
    const refused = assert.rejects(has('a'), unavailable);
    t.mock.timers.tick(3000);
    await refused;
  });

  it('are loaded anew for one that is unknown, so that a rotation refuses nobody', async () => {
    const { state, has } = issuer({ cooldownMs: 0 });
    state.keys = [await key('a')];
    await has('a');
    state.keys = [...state.keys, await key('b')];
    assert.ok(await has('b'));
    assert.ok(await has('a'));
  });

  it('are not loaded for each token that names an unknown one', async () => {
    const { state, has } = issuer({ cooldownMs: 60_000 });
    state.keys = [await key('a')];
    await has('a');
    for (let call = 0; call < 20; call += 1)
      await assert.rejects(has('b'), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
    assert.equal(state.loads, 2, 'one load for all of them');
  });

  it('are loaded for a new one right after a load, so that a token by a key of this moment is valid', async () => {
    const { state, has } = issuer({ cooldownMs: 60_000 });
    state.keys = [await key('a')];
    await has('a');
    state.keys = [...state.keys, await key('b')];
    assert.ok(await has('b'));
    assert.equal(state.loads, 2);
  });

  it('cannot be known when too many unknown ones were named, which says when to come back and is no 401', async () => {
    const state = { now: 0, loads: 0 };
    const keys = [await key('a')];
    const find = createKeySet({
      now: () => state.now,
      async load() {
        state.loads += 1;
        return { keys };
      },
      cooldownMs: 30_000,
    });
    const has = async (kid: string) => Boolean(await find(named(kid), noToken));
    await has('a');
    state.now = 1000;
    await assert.rejects(has('x1'), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
    state.now = 1001;
    await assert.rejects(has('x2'), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
    keys.push(await key('b'));
    state.now = 11_000;
    for (let call = 0; call < 50; call += 1) {
      await assert.rejects(
        has(`y${call}`),
        (error) =>
          error instanceof Failure &&
          error.code === 'identity-unavailable' &&
          error.headers['Retry-After'] === '20',
      );
    }
    await assert.rejects(has('b'), { code: 'identity-unavailable' });
    await assert.rejects(has('x1'), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
    assert.equal(state.loads, 3, 'a flood of names is no flood at the issuer');
    state.now = 31_000;
    assert.ok(await has('b'));
    assert.ok(await has('a'));
  });

  it('leave open whether an unknown one is valid while the issuer is away', async () => {
    const { state, has } = issuer({ cooldownMs: 0 });
    state.keys = [await key('a')];
    await has('a');
    state.away = true;
    await assert.rejects(has('b'), unavailable);
    assert.ok(await has('a'));
  });
});

describe('keys of an issuer that get old', () => {
  /** An issuer and a clock that a test moves; loads end when the test says so. */
  async function aging(options: Partial<KeySetOptions> = {}) {
    const [a, b] = [await key('a'), await key('b')];
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
      Promise.resolve(find(named(kid), noToken)).then(
        () => true,
        (error) => {
          if (unavailable(error)) throw error;
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

  it('are not used past their age before a load was waited for, when no request came meanwhile', async () => {
    const { state, accepts, b } = await aging();
    state.keys = [b];
    state.now = 9.5 * minutes + 1;
    assert.equal(await accepts('a'), false, 'the withdrawn key');
    assert.equal(await accepts('b'), true);
    assert.equal(state.loads, 2);
  });

  it('are waited for by all concurrent requests, which share one load', async () => {
    const { state, accepts, release, b } = await aging();
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

  it('are loaded in the background before their age is reached, and no request waits', async () => {
    const { state, accepts, release } = await aging();
    state.now = 7.7 * minutes;
    state.held = true;
    assert.deepEqual(await Promise.all([accepts('a'), accepts('b'), accepts('a')]), [true, true, true]);
    assert.equal(state.loads, 2);
    release();
    await nextTurn();
    state.held = false;
    state.now = 17 * minutes;
    state.unavailable = true;
    assert.equal(await accepts('a'), true, 'the age counts from the load in the background');
  });

  it('count their age from the beginning of a load: a key can be withdrawn while the response is under way', async () => {
    const { state, accepts, release, b } = await aging();
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

  it('are used while the issuer is unavailable, for an hour at most, and no request waits for it again', async () => {
    const { state, accepts, release } = await aging();
    state.unavailable = true;
    state.now = 10 * minutes;
    assert.equal(await accepts('a'), true);
    assert.equal(state.failures, 1, 'after a load was tried');
    state.held = true;
    for (; state.now < 69 * minutes; state.now += 1500) {
      // Without the end of this load: it is not waited for.
      assert.equal(await accepts('a'), true);
      release();
      await nextTurn();
    }
    state.held = false;
    state.now = 69.6 * minutes;
    await assert.rejects(accepts('a'), unavailable);
    state.unavailable = false;
    state.now += 1001;
    assert.equal(await accepts('a'), true);
  });

  it('are not used for long after the issuer is available again', async () => {
    const { state, accepts, b } = await aging();
    state.unavailable = true;
    state.now = 10 * minutes;
    await accepts('a');
    state.unavailable = false;
    state.keys = [b];
    state.now += 30_001;
    assert.equal(await accepts('a'), false, 'a load that failed counts for half a minute');
  });

  it('are used without an issuer that does not answer in time, which only the first requests wait for', async () => {
    const { state, accepts, release, b } = await aging({ waitMs: 20 });
    state.keys = [b];
    state.held = true;
    state.now = 10 * minutes;
    assert.deepEqual(await Promise.all([accepts('a'), accepts('b')]), [true, true]);
    state.now += 1000;
    const before = performance.now();
    for (let call = 0; call < 20; call += 1) await accepts('a');
    assert.ok(performance.now() - before < 200, 'no one waits again');
    assert.equal(state.loads, 2, 'one load at a time');
    state.held = false;
    release();
    await nextTurn();
    assert.equal(await accepts('a'), false, 'the late response counts');
  });
});

describe('keys at a URL', () => {
  async function answering(t: TestContext, status: number, body: string, location?: string): Promise<string> {
    const server = createServer((_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...(location && { location }) });
      response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  }

  it('are read', async (t) => {
    const keys = [await key('a')];
    assert.deepEqual(await fetchKeys(await answering(t, 200, JSON.stringify({ keys })))(), { keys });
  });

  it('are refused from anywhere else, and when they make no sense', async (t) => {
    const elsewhere = await answering(t, 200, '{"keys":[]}');
    await assert.rejects(fetchKeys(await answering(t, 302, '', elsewhere))());
    await assert.rejects(fetchKeys(await answering(t, 500, '{"keys":[]}'))(), /answered 500/);
    await assert.rejects(fetchKeys(await answering(t, 200, '<html>'))());
    await assert.rejects(fetchKeys(await answering(t, 200, ' '.repeat(300_000)))(), /more than/);
    const { find } = { find: createKeySet({ load: fetchKeys(await answering(t, 200, '{"keys":7}')) }) };
    await assert.rejects(async () => find(named('a'), noToken), unavailable);
  });
});

describe('keys of an issuer with fallbacks', () => {
  /** An issuer that is unavailable, and a copy of its keys elsewhere. */
  function withCopy(options: Partial<KeySetOptions> = {}) {
    const state = { copy: [] as JWK[], ageMs: 0, copies: 0, now: 10_000_000 };
    const created = issuer({
      fallbacks: [
        async () => {
          throw new Error('no copy here');
        },
        async () => {
          state.copies += 1;
          return { keys: state.copy, ageMs: state.ageMs };
        },
      ],
      maxAgeMs: 1000,
      maxStaleMs: 2000,
      retryMs: 0,
      cooldownMs: 100,
      now: () => state.now,
      ...options,
    });
    created.state.away = true;
    return { ...created, copy: state };
  }

  it('come from the first fallback that has them while the issuer is unavailable', async () => {
    const { has, copy } = withCopy();
    copy.copy = [await key('a')];
    assert.ok(await has('a'));
  });

  it('come from a fallback when the issuer does not respond in time', async () => {
    const { has, copy } = withCopy({
      load: () => new Promise(() => undefined),
      fallbackAfterMs: 5,
    });
    copy.copy = [await key('a')];
    assert.ok(await has('a'));
  });

  it('are not asked of a fallback while the issuer responds', async () => {
    const { has, state, copy } = withCopy();
    state.away = false;
    state.keys = [await key('a')];
    assert.ok(await has('a'));
    assert.equal(copy.copies, 0);
  });

  it('end with the age of the copy: a withdrawn key lives no longer by way of copies', async () => {
    const { has, copy } = withCopy();
    copy.copy = [await key('a')];
    copy.ageMs = 2500;
    assert.ok(await has('a'));
    copy.now += 600;
    copy.ageMs += 600;
    await assert.rejects(has('a'), unavailable);
  });

  it('are used without waiting for each request when the copy is old', async () => {
    const { has, state, copy } = withCopy({ retryMs: 60_000 });
    copy.copy = [await key('a')];
    copy.ageMs = 1500;
    for (let call = 0; call < 20; call += 1) assert.ok(await has('a'));
    assert.equal(state.loads, 1);
  });

  it('are never replaced by an older copy', async () => {
    const { has, state, copy } = withCopy();
    state.away = false;
    state.keys = [await key('new')];
    assert.ok(await has('new'));
    state.away = true;
    copy.copy = [await key('withdrawn')];
    copy.ageMs = 2500;
    copy.now += 1500;
    await assert.rejects(has('withdrawn'), unavailable);
    assert.ok(await has('new'));
  });
});
