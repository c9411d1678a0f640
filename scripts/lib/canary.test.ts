import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeShares, requestsBetween, takeCanaryOption } from './canary.ts';

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
    assert.deepEqual(takeCanaryOption(['--canary=gateway=1.2.0', '--once']), {
      target: { service: 'gateway', tag: '1.2.0' },
      rest: ['--once'],
    });
    assert.deepEqual(takeCanaryOption(['--once']), { target: undefined, rest: ['--once'] });
  });

  for (const args of [
    ['--canary'],
    ['--canary='],
    ['--canary', 'orders'],
    ['--canary', '=1.2.0'],
    ['--canary', '--once'],
  ])
    it(`rejects ${args.join(' ')}`, () => {
      assert.throws(
        () => takeCanaryOption(args),
        /--canary needs a service.*The services are .*order-service/,
      );
    });
});

const pods = (counts: Readonly<Record<string, number>>) =>
  new Map(
    Object.entries(counts).map(
      ([name, requests]) => [name, { track: name.split('-')[0], requests }] as const,
    ),
  );

describe('requestsBetween', () => {
  it('sums the requests of the pods of each version', () => {
    const before = pods({ 'stable-a': 50, 'stable-b': 50, 'canary-a': 10 });
    const now = pods({ 'stable-a': 80, 'stable-b': 86, 'canary-a': 43 });
    assert.deepEqual(requestsBetween(before, now), {
      stable: { pods: 2, requests: 66 },
      canary: { pods: 1, requests: 33 },
    });
  });

  it('counts a pod whose container restarted from zero', () => {
    const { stable } = requestsBetween(pods({ 'stable-a': 500 }), pods({ 'stable-a': 20 }));
    assert.deepEqual(stable, { pods: 1, requests: 20 });
  });

  it('counts a new pod from zero, and leaves out one that has ended', () => {
    const before = pods({ 'stable-a': 500, 'stable-b': 50 });
    const now = pods({ 'stable-b': 60, 'stable-c': 5, 'canary-a': 5 });
    assert.deepEqual(requestsBetween(before, now), {
      stable: { pods: 2, requests: 15 },
      canary: { pods: 1, requests: 5 },
    });
  });
});

describe('describeShares', () => {
  it('says how many requests each version received', () => {
    assert.equal(
      describeShares('order-service', {
        stable: { pods: 2, requests: 66 },
        canary: { pods: 1, requests: 33 },
      }),
      'order-service: 66 requests at 2 pods, 33 at 1 pod of the canary (33.3 %)',
    );
  });

  it('returns nothing without requests', () => {
    const none = { pods: 1, requests: 0 };
    assert.equal(describeShares('order-service', { stable: none, canary: none }), undefined);
  });
});
