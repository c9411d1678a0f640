import assert from 'node:assert/strict';
import { it } from 'node:test';
import { testMetrics } from '@zerda/chassis/testing/observed';
import { registerKeyAge } from './key-age.ts';
import type { KeyDescription } from './signing-keys.ts';

it('exports the age of the signing key, and nothing while the database is unavailable', async () => {
  const { registry } = testMetrics();
  const keyAt = (state: KeyDescription['state'], ageMs: number): KeyDescription => ({
    kid: state,
    state,
    signsFrom: new Date(Date.now() - ageMs),
    endsAt: undefined,
  });
  let list = async (): Promise<KeyDescription[]> => [
    keyAt('previous', 900_000),
    keyAt('signing', 100_000),
    keyAt('next', -100_000),
  ];
  registerKeyAge(registry, { list: () => list() });
  assert.match(await registry.metrics(), /^signing_key_age_seconds 100(\.\d+)?$/m);
  list = () => Promise.reject(new Error('the database is unavailable'));
  assert.doesNotMatch(await registry.metrics(), /^signing_key_age_seconds \d/m);
});
