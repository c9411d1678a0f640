import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeShares, takeCanaryOption } from './canary.ts';

describe('takeCanaryOption', () => {
  it('returns the service, its tag if given, and the other arguments', () => {
    assert.deepEqual(takeCanaryOption(['--once', '--canary', 'order-service=1.2.0', '--set', 'a=b']), {
      target: { service: 'order-service', tag: '1.2.0' },
      rest: ['--once', '--set', 'a=b'],
    });
    assert.deepEqual(takeCanaryOption(['--canary', 'gateway']), {
      target: { service: 'gateway', tag: undefined },
      rest: [],
    });
    assert.deepEqual(takeCanaryOption(['--once']), { target: undefined, rest: ['--once'] });
  });

  for (const args of [['--canary'], ['--canary', 'orders'], ['--canary', '=1.2.0'], ['--canary', '--once']])
    it(`rejects ${args.join(' ')}`, () => {
      assert.throws(
        () => takeCanaryOption(args),
        /--canary needs a service.*The services are .*order-service/,
      );
    });
});

describe('describeShares', () => {
  const counts = (stable: number, canary: number) => ({
    stable: { pods: 2, requests: stable },
    canary: { pods: 1, requests: canary },
  });

  it('says how many requests each version received', () => {
    assert.equal(
      describeShares('order-service', counts(100, 10), counts(166, 43)),
      'order-service: 66 requests at 2 pods, 33 at 1 pod of the canary (33.3 %)',
    );
  });

  it('returns nothing without requests', () => {
    assert.equal(describeShares('order-service', counts(100, 10), counts(100, 10)), undefined);
  });

  it('does not count below zero when pods were replaced', () => {
    assert.match(
      String(describeShares('order-service', counts(100, 10), counts(4, 14))),
      /: 0 requests .* 4 at .*100\.0 %/,
    );
  });
});
