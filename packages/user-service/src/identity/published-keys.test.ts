import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PublicKey } from '@zerda/contracts/identity';
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
  it('are those of the database in each call, while it responds', async () => {
    const { state, kids } = database();
    assert.deepEqual(await kids(), ['a', 0]);
    state.keys = [key('b')];
    assert.deepEqual(await kids(), ['b', 0]);
  });

  it('are the last ones with their age while the database is unavailable or hangs', async () => {
    const { state, kids } = database();
    await kids();
    state.unavailable = true;
    state.now = 400;
    assert.deepEqual(await kids(), ['a', 400]);
    state.hangs = true;
    state.now = 900;
    assert.deepEqual(await kids(), ['a', 900]);
  });

  it('are unknown once the last ones are too old, and before there were any', async () => {
    const { state, kids } = database();
    state.unavailable = true;
    await assert.rejects(kids(), /unavailable/);
    state.unavailable = false;
    await kids();
    state.unavailable = true;
    state.now = 1001;
    await assert.rejects(kids(), /unavailable/);
  });

  it('are those of the database again as soon as it responds', async () => {
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
