import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createSampler, samplerNames } from './sampler.ts';
import { newTraceparent } from './traceparent.ts';

const sampled = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
const unsampled = sampled.replace(/01$/, '00');

describe('sampler', () => {
  it('follows the parent if its name starts with parentbased', () => {
    for (const name of samplerNames.filter((candidate) => candidate.startsWith('parentbased'))) {
      const sample = createSampler(name, 0.5);
      assert.deepEqual([sample(sampled), sample(unsampled)], [true, false], name);
    }
  });

  it('decides alone otherwise', () => {
    assert.equal(createSampler('always_on', 1)(unsampled), true);
    assert.equal(createSampler('always_off', 1)(sampled), false);
    assert.equal(createSampler('parentbased_always_on', 1)(undefined), true);
    assert.equal(createSampler('parentbased_always_off', 1)(undefined), false);
  });

  it('samples the configured share of new traces', () => {
    for (const name of ['traceidratio', 'parentbased_traceidratio'] as const) {
      const sample = createSampler(name, 0.1);
      const share = Array.from({ length: 20_000 }, () => sample(undefined)).filter(Boolean).length / 20_000;
      assert.ok(share > 0.08 && share < 0.12, `${name}: ${share}`);
      assert.equal(createSampler(name, 0)(undefined), false);
      assert.equal(createSampler(name, 1)(undefined), true);
    }
  });

  it('traceidratio gives all services the same decision on a trace', () => {
    const traces = Array.from({ length: 5000 }, newTraceparent);
    const [low, high] = [createSampler('traceidratio', 0.1), createSampler('traceidratio', 0.3)];
    const sampledLow = traces.filter(low);
    assert.ok(sampledLow.length > 300 && sampledLow.length < 700, String(sampledLow.length));
    assert.ok(sampledLow.every(high), 'a higher ratio samples every trace of a lower one');
  });
});
