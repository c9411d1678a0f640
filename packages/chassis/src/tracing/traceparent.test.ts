import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  boundedBaggage,
  boundedTracestate,
  isSampled,
  newTraceparent,
  spanIdOf,
  traceIdOf,
  validTraceparent,
  withoutSampled,
} from './traceparent.ts';

const sampled = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

describe('traceparent', () => {
  it('of a new trace is valid, unique and not sampled', () => {
    const created = Array.from({ length: 1000 }, newTraceparent);
    for (const traceparent of created) assert.equal(validTraceparent(traceparent), traceparent);
    assert.equal(new Set(created.map(traceIdOf)).size, 1000);
    assert.equal(new Set(created.map(spanIdOf)).size, 1000);
    assert.equal(created.some(isSampled), false);
  });

  it('is rejected if it is malformed, repeated or has a zero id (W3C Trace Context, section 3.2.2)', () => {
    assert.equal(validTraceparent(sampled), sampled);
    for (const header of [
      undefined,
      '',
      `${sampled}-00`,
      sampled.toUpperCase(),
      sampled.replace('00-4', '01-4'),
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      `00-4bf92f3577b34da6a3ce929d0e0e4736-${'0'.repeat(16)}-01`,
      [sampled, sampled],
    ])
      assert.equal(validTraceparent(header), undefined, String(header));
  });

  it('reads and removes the sampled flag beside other flags', () => {
    assert.equal(isSampled(sampled), true);
    assert.equal(isSampled(sampled.replace(/01$/, '03')), true);
    assert.equal(isSampled(sampled.replace(/01$/, '02')), false);
    assert.equal(withoutSampled(sampled), sampled.replace(/01$/, '00'));
    assert.equal(isSampled(withoutSampled(sampled.replace(/01$/, '03'))), false);
  });
});

describe('baggage', () => {
  it('is passed on unchanged within the limits', () => {
    assert.equal(boundedBaggage('tenant=7,user=alice;ttl=1'), 'tenant=7,user=alice;ttl=1');
    for (const absent of [undefined, '']) assert.equal(boundedBaggage(absent), undefined);
  });

  it('keeps at most 64 whole members and 8192 characters (W3C Baggage, section 3.3.2)', () => {
    const members = Array.from({ length: 100 }, (_, index) => `k${index}=v`);
    assert.equal(boundedBaggage(members.join(',')), members.slice(0, 64).join(','));
    const long = [`a=${'x'.repeat(4000)}`, `b=${'x'.repeat(4000)}`, `c=${'x'.repeat(4000)}`];
    assert.equal(boundedBaggage(long.join(',')), long.slice(0, 2).join(','));
    assert.equal(boundedBaggage(`a=${'x'.repeat(9000)}`), undefined);
  });
});

it('tracestate is dropped if it exceeds 2048 characters', () => {
  assert.equal(boundedTracestate('vendor=1'), 'vendor=1');
  assert.equal(boundedTracestate(`vendor=${'x'.repeat(2048)}`), undefined);
});
