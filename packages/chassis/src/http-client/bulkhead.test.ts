import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { Bulkhead, type CallClient } from './bulkhead.ts';

const user = (id: string): CallClient => ({ id, anonymous: false });

/** Takes slots until there are none for the client; returns how many. */
function fill(bulkhead: Bulkhead, capacity: number, client: CallClient | undefined): number {
  let taken = 0;
  while (bulkhead.enter(capacity, client)) taken += 1;
  return taken;
}

describe('bulkhead', () => {
  it('takes as many calls as its capacity when they are not counted by client', () => {
    const bulkhead = new Bulkhead();
    assert.equal(fill(bulkhead, 128, undefined), 128);
    bulkhead.leave(undefined);
    assert.equal(bulkhead.inFlight, 127);
    assert.equal(fill(bulkhead, 128, undefined), 1);
  });

  it('leaves one eighth free beside a client that is alone', () => {
    for (const [capacity, share] of [
      [128, 112],
      [16, 14],
      [8, 7],
      [3, 3],
      [1, 1],
    ] as const)
      assert.equal(fill(new Bulkhead(), capacity, user('greedy')), share, String(capacity));
  });

  it('reduces a greedy client to its share once there are others', () => {
    const bulkhead = new Bulkhead();
    fill(bulkhead, 128, user('greedy'));
    assert.ok(bulkhead.enter(128, user('other')));
    // As calls end, the greedy client gets none of the slots until half are free.
    let own = 112;
    while (!bulkhead.enter(128, user('greedy'))) {
      bulkhead.leave(user('greedy'));
      own -= 1;
    }
    assert.equal(own, 63);
  });

  it('leaves a slot for a client that has none, whatever some others do', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 256 }),
        fc.array(fc.tuple(fc.nat({ max: 5 }), fc.boolean()), { maxLength: 2000 }),
        (capacity, steps) => {
          const bulkhead = new Bulkhead();
          const held = new Map<string, number>();
          for (const [index, enters] of steps) {
            const client = `client ${index}`;
            const own = held.get(client) ?? 0;
            if (enters && bulkhead.enter(capacity, user(client))) held.set(client, own + 1);
            else if (!enters && own > 0) {
              bulkhead.leave(user(client));
              held.set(client, own - 1);
            }
            assert.equal(
              bulkhead.inFlight,
              [...held.values()].reduce((sum, count) => sum + count, 0),
            );
          }
          assert.ok(bulkhead.enter(capacity, user('newcomer')), `${capacity}: ${[...held.values()]}`);
        },
      ),
    );
  });

  it('leaves a quarter to callers with a token, however many addresses anonymous clients have', () => {
    const bulkhead = new Bulkhead();
    let taken = 0;
    for (let index = 0; index < 200; index += 1)
      if (bulkhead.enter(128, { id: `address ${index}`, anonymous: true })) taken += 1;
    assert.equal(taken, 96);
    assert.ok(bulkhead.enter(128, user('alice')));
    for (let index = 0; index < taken; index += 1)
      bulkhead.leave({ id: `address ${index}`, anonymous: true });
    assert.ok(bulkhead.enter(128, { id: 'address 1', anonymous: true }));
  });

  it('forgets clients that have no call in flight', () => {
    const bulkhead = new Bulkhead();
    for (let round = 0; round < 3; round += 1) {
      assert.equal(fill(bulkhead, 16, user('greedy')), 14);
      for (let call = 0; call < 14; call += 1) bulkhead.leave(user('greedy'));
      assert.equal(bulkhead.inFlight, 0);
    }
  });

  describe('calls that wait for their client', () => {
    function startClock(context: TestContext) {
      let now = 1_000_000;
      context.mock.method(performance, 'now', () => now);
      return (ms: number): void => {
        now += ms;
      };
    }

    /** Takes a slot for a call that waits; returns whether it still does. */
    function wait(bulkhead: Bulkhead, capacity: number, client: CallClient | undefined): () => boolean {
      assert.ok(bulkhead.enter(capacity, client));
      let waits = true;
      bulkhead.waitForClient(client, () => {
        waits = false;
        bulkhead.leave(client);
      });
      return () => waits;
    }

    it('give their slots to others after a second, the one that has waited longest first', (context) => {
      const pass = startClock(context);
      const bulkhead = new Bulkhead();
      const first = wait(bulkhead, 2, undefined);
      pass(400);
      const second = wait(bulkhead, 2, undefined);
      pass(599);
      assert.equal(bulkhead.enter(2, undefined), false);
      pass(1);
      assert.equal(bulkhead.enter(2, undefined), true);
      assert.deepEqual([first(), second()], [false, true]);
      assert.equal(bulkhead.enter(2, undefined), false, 'the second has not had its time');
      assert.equal(bulkhead.inFlight, 2);
    });

    it('are let be as long as there are slots, and once they wait no longer', (context) => {
      const pass = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = wait(bulkhead, 2, undefined);
      pass(60_000);
      assert.ok(bulkhead.enter(2, undefined));
      assert.ok(waits());
      bulkhead.leave(undefined);
      assert.ok(bulkhead.enter(2, undefined));
      bulkhead.leave(undefined);
      let ended = false;
      assert.ok(bulkhead.enter(2, undefined));
      const resume = bulkhead.waitForClient(undefined, () => {
        ended = true;
      });
      resume();
      pass(2000);
      bulkhead.enter(2, undefined);
      assert.equal(ended, false);
    });

    it('are not ended by a client that has as many slots or more, but for its own', (context) => {
      const pass = startClock(context);
      const bulkhead = new Bulkhead();
      const other = wait(bulkhead, 8, user('other'));
      const own = wait(bulkhead, 8, user('greedy'));
      fill(bulkhead, 8, user('greedy'));
      fill(bulkhead, 8, undefined);
      pass(2000);
      assert.equal(bulkhead.inFlight, 8);
      assert.ok(bulkhead.enter(8, user('greedy')), 'in place of its own');
      assert.deepEqual([own(), other()], [false, true]);
      assert.equal(bulkhead.enter(8, user('greedy')), false);
      assert.equal(other(), true);
      assert.equal(bulkhead.inFlight, 8);
    });

    it('give their slots to a client that has fewer, up to as many as theirs has', (context) => {
      const pass = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = [1, 2, 3, 4, 5, 6].map(() => wait(bulkhead, 8, user('greedy')));
      fill(bulkhead, 8, undefined);
      pass(199);
      assert.equal(bulkhead.enter(8, user('other')), false);
      pass(1);
      assert.equal(fill(bulkhead, 8, user('other')), 3);
      assert.deepEqual(
        waits.map((stillWaits) => stillWaits()),
        [false, false, false, true, true, true],
      );
      assert.equal(bulkhead.inFlight, 8);
    });

    it('of clients with a token are not ended for anonymous clients beyond their share', (context) => {
      const pass = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = [1, 2].map(() => wait(bulkhead, 8, user('alice')));
      for (let index = 0; index < 6; index += 1)
        assert.ok(bulkhead.enter(8, { id: `address ${index}`, anonymous: true }));
      pass(2000);
      assert.equal(bulkhead.enter(8, { id: 'address 7', anonymous: true }), false);
      assert.deepEqual(
        waits.map((stillWaits) => stillWaits()),
        [true, true],
      );
    });

    it('keep their slots against requests without a client that together have as many', (context) => {
      const pass = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = ['a', 'b', 'c'].map((id) => wait(bulkhead, 4, user(id)));
      assert.ok(bulkhead.enter(4, undefined));
      pass(5000);
      assert.equal(bulkhead.enter(4, undefined), false);
      assert.ok(waits.every((stillWaits) => stillWaits()));
    });

    it('are not ended where that would not make room, since the capacity has become less', (context) => {
      const pass = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = [1, 2, 3, 4].map(() => wait(bulkhead, 4, undefined));
      pass(5000);
      assert.equal(bulkhead.enter(2, undefined), false);
      assert.ok(waits.every((stillWaits) => stillWaits()));
    });
  });
});
