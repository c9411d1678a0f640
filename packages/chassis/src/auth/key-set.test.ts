import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters } from 'jose';
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
  return { state, has: async (kid: string) => Boolean(await find(named(kid), noToken)) };
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

  it('go on serving while the issuer is away, however old they are', async () => {
    const failures: unknown[] = [];
    const { state, has } = issuer({ maxAgeMs: 0, retryMs: 0, onFailure: (error) => failures.push(error) });
    state.keys = [await key('a')];
    await has('a');
    state.away = true;
    for (let call = 0; call < 3; call += 1) {
      assert.ok(await has('a'));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(failures.length > 0);
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
    assert.equal(state.loads, 1);
  });

  it('leave open whether an unknown one is valid while the issuer is away', async () => {
    const { state, has } = issuer({ cooldownMs: 0 });
    state.keys = [await key('a')];
    await has('a');
    state.away = true;
    await assert.rejects(has('b'), unavailable);
    assert.ok(await has('a'));
  });

  it('that were withdrawn are refused once the keys are loaded anew', async () => {
    const { state, has } = issuer({ maxAgeMs: 0, cooldownMs: 0 });
    const [a, b] = [await key('a'), await key('b')];
    state.keys = [a, b];
    await has('a');
    state.keys = [b];
    await has('b');
    await new Promise((resolve) => setTimeout(resolve, 5));
    await assert.rejects(has('a'), { code: 'ERR_JWKS_NO_MATCHING_KEY' });
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
