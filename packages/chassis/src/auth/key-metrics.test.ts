import assert from 'node:assert/strict';
import { it } from 'node:test';
import { testMetrics } from '../../testing/observed.ts';
import { registerKeyMetrics } from './key-metrics.ts';

it('exports the age of the keys and their fetches, the failed ones as 0 from the start', async () => {
  const { registry } = testMetrics();
  const metrics = registerKeyMetrics(registry);
  assert.match(await registry.metrics(), /^jwks_age_seconds \+Inf$/m);
  assert.match(await registry.metrics(), /^jwks_fetches_total\{outcome="failed"\} 0$/m);
  metrics.age(() => 12);
  metrics.fetched('failed');
  assert.match(await registry.metrics(), /^jwks_age_seconds 12$/m);
  assert.match(await registry.metrics(), /^jwks_fetches_total\{outcome="failed"\} 1$/m);
});
