import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PublicKey } from '@zerda/contracts/user-service/identity';
import { createPublishedKeys } from './published-keys.ts';

const key = (kid: string) =>
  ({ kid, kty: 'OKP', crv: 'Ed25519', x: 'x', alg: 'EdDSA', use: 'sig' }) as PublicKey;

function database() {
  const state = { keys: [key('a')], unavailable: false, hangs: false, now: 0 };
  const published = createPublishedKeys({
    async read() {
      if (state.hangs) await new Promise<never>(() => undefined);
      if (state.unavailable) throw new Error('unavailable');
      return state.keys;
    },
    waitMs: 5,
    maxAgeMs: 1000,
    now: () => state.now,
  });
  const kids = async () => {
    const { keys, ageMs } = await published();
    return [keys.map(({ kid }) => kid).join(), ageMs];
  };
  return { state, kids };
}

describe('the published keys', () => {
  it('are read from the database on each call while it responds', async () => {
    const { state, kids } = database();
    assert.deepEqual(await kids(), ['a', 0]);
    state.keys = [key('b')];
    assert.deepEqual(await kids(), ['b', 0]);
  });

  it('come from the cache with their age while the database is unavailable or hangs', async () => {
    const { state, kids } = database();
    await kids();
    state.unavailable = true;
    state.now = 400;
    assert.deepEqual(await kids(), ['a', 400]);
    state.hangs = true;
    state.now = 900;
    assert.deepEqual(await kids(), ['a', 900]);
  });

  it('reject without a cached copy or with one older than maxAgeMs', async () => {
    const { state, kids } = database();
    state.unavailable = true;
    await assert.rejects(kids(), /unavailable/);
    state.unavailable = false;
    await kids();
    state.unavailable = true;
    state.now = 1001;
    await assert.rejects(kids(), /unavailable/);
  });

  it('are read from the database again when it responds', async () => {
    const { state, kids } = database();
    await kids();
    state.unavailable = true;
    await kids();
    state.unavailable = false;
    state.keys = [key('b')];
    state.now = 500;
    assert.deepEqual(await kids(), ['b', 0]);
  });
});
