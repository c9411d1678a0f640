import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { CallClient } from '@zerda/chassis/request-context';
import fc from 'fast-check';
import { Bulkhead } from './bulkhead.ts';

const user = (id: string): CallClient => ({ id, anonymous: false });

/** Acquires slots until the client can have no more; returns their number. */
function fill(bulkhead: Bulkhead, capacity: number, client: CallClient | undefined): number {
  let taken = 0;
  while (bulkhead.acquire(capacity, client)) taken += 1;
  return taken;
}

describe('bulkhead', () => {
  it('accepts as many calls as its capacity if they are not counted by client', () => {
    const bulkhead = new Bulkhead();
    assert.equal(fill(bulkhead, 128, undefined), 128);
    bulkhead.release(undefined);
    assert.equal(bulkhead.inFlight, 127);
    assert.equal(fill(bulkhead, 128, undefined), 1);
  });

  it('leaves one eighth free if there is a single client', () => {
    for (const [capacity, share] of [
      [128, 112],
      [16, 14],
      [8, 7],
      [3, 3],
      [1, 1],
    ] as const)
      assert.equal(fill(new Bulkhead(), capacity, user('greedy')), share, String(capacity));
  });

  it('reduces a greedy client to its share when there are others', () => {
    const bulkhead = new Bulkhead();
    fill(bulkhead, 128, user('greedy'));
    assert.ok(bulkhead.acquire(128, user('other')));
    // Of the 112 slots that are not for clients without a slot, the greedy client gets half.
    let slots = 112;
    while (!bulkhead.acquire(128, user('greedy'))) {
      bulkhead.release(user('greedy'));
      slots -= 1;
    }
    assert.equal(slots, 55);
  });

  it('leaves a slot for a new client after one client used its full share, whatever it and three others do', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: 256 }),
        fc.array(fc.tuple(fc.nat({ max: 3 }), fc.boolean()), { maxLength: 2000 }),
        (capacity, steps) => {
          const bulkhead = new Bulkhead();
          steps.unshift(...Array.from({ length: capacity }, (): [number, boolean] => [0, true]));
          const slotsByClient = new Map<string, number>();
          for (const [index, acquires] of steps) {
            const client = `client ${index}`;
            const slots = slotsByClient.get(client) ?? 0;
            if (acquires && bulkhead.acquire(capacity, user(client))) slotsByClient.set(client, slots + 1);
            else if (!acquires && slots > 0) {
              bulkhead.release(user(client));
              slotsByClient.set(client, slots - 1);
            }
            assert.equal(
              bulkhead.inFlight,
              [...slotsByClient.values()].reduce((sum, count) => sum + count, 0),
            );
          }
          assert.ok(
            bulkhead.acquire(capacity, user('newcomer')),
            `${capacity}: ${[...slotsByClient.values()]}`,
          );
        },
      ),
    );
  });

  it('leaves a quarter to callers with a token, for any number of anonymous clients', () => {
    const bulkhead = new Bulkhead();
    let taken = 0;
    for (let index = 0; index < 200; index += 1)
      if (bulkhead.acquire(128, { id: `address ${index}`, anonymous: true })) taken += 1;
    assert.equal(taken, 96);
    // Of 32 slots, 4 are for callers without one; two clients and the free slots share the rest.
    assert.equal(fill(bulkhead, 128, user('alice')), 14);
    assert.ok(bulkhead.acquire(128, user('bob')));
    for (let index = 0; index < taken; index += 1)
      bulkhead.release({ id: `address ${index}`, anonymous: true });
    assert.ok(bulkhead.acquire(128, { id: 'address 1', anonymous: true }));
  });

  it('leaves a slot for a new anonymous client, however many greedy ones take turns', () => {
    for (const count of [1, 2, 20, 80]) {
      const bulkhead = new Bulkhead();
      const clients = Array.from({ length: count }, (_, index) => ({
        id: `address ${index}`,
        anonymous: true,
      }));
      // Their calls arrive in turn.
      while (clients.filter((client) => bulkhead.acquire(128, client)).length > 0);
      assert.ok(bulkhead.acquire(128, { id: 'new address', anonymous: true }), `${count} clients`);
    }
  });

  it('has slots for a burst of new clients beside greedy ones', () => {
    for (const count of [1, 2, 20, 40]) {
      const bulkhead = new Bulkhead();
      const clients = Array.from({ length: count }, (_, index) => ({
        id: `address ${index}`,
        anonymous: true,
      }));
      while (clients.filter((client) => bulkhead.acquire(128, client)).length > 0);
      const newClients = Array.from({ length: 12 }, (_, index) => ({
        id: `new address ${index}`,
        anonymous: true,
      }));
      assert.ok(
        newClients.every((client) => bulkhead.acquire(128, client)),
        `${count} clients`,
      );
    }
  });

  it('restores the full share of a client whose calls have ended', () => {
    const bulkhead = new Bulkhead();
    for (let round = 0; round < 3; round += 1) {
      assert.equal(fill(bulkhead, 16, user('greedy')), 14);
      for (let call = 0; call < 14; call += 1) bulkhead.release(user('greedy'));
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

    /** Acquires a slot for a call that waits for its client. Returns a function that reports whether it still waits. */
    function startWaiting(
      bulkhead: Bulkhead,
      capacity: number,
      client: CallClient | undefined,
    ): () => boolean {
      assert.ok(bulkhead.acquire(capacity, client));
      let waits = true;
      bulkhead.waitForClient(client, () => {
        waits = false;
        bulkhead.release(client);
      });
      return () => waits;
    }

    it('lose their slots to others after one second, the longest wait first', (context) => {
      const advance = startClock(context);
      const bulkhead = new Bulkhead();
      const first = startWaiting(bulkhead, 2, undefined);
      advance(400);
      const second = startWaiting(bulkhead, 2, undefined);
      advance(599);
      assert.equal(bulkhead.acquire(2, undefined), false);
      advance(1);
      assert.equal(bulkhead.acquire(2, undefined), true);
      assert.deepEqual([first(), second()], [false, true]);
      assert.equal(bulkhead.acquire(2, undefined), false, 'the second call has not waited long enough');
      assert.equal(bulkhead.inFlight, 2);
    });

    it('are not ended while there are free slots, or when they no longer wait', (context) => {
      const advance = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = startWaiting(bulkhead, 2, undefined);
      advance(60_000);
      assert.ok(bulkhead.acquire(2, undefined));
      assert.ok(waits());
      bulkhead.release(undefined);
      assert.ok(bulkhead.acquire(2, undefined));
      bulkhead.release(undefined);
      let ended = false;
      assert.ok(bulkhead.acquire(2, undefined));
      const resume = bulkhead.waitForClient(undefined, () => {
        ended = true;
      });
      resume();
      advance(2000);
      bulkhead.acquire(2, undefined);
      assert.equal(ended, false);
    });

    it('are not ended by a client with the same number of slots, except for its own calls', (context) => {
      const advance = startClock(context);
      const bulkhead = new Bulkhead();
      const otherClient = startWaiting(bulkhead, 8, user('other'));
      const sameClient = startWaiting(bulkhead, 8, user('greedy'));
      fill(bulkhead, 8, user('greedy'));
      fill(bulkhead, 8, undefined);
      advance(2000);
      assert.equal(bulkhead.inFlight, 8);
      assert.ok(bulkhead.acquire(8, user('greedy')), 'it takes over its own slot');
      assert.deepEqual([sameClient(), otherClient()], [false, true]);
      assert.equal(bulkhead.acquire(8, user('greedy')), false);
      assert.equal(otherClient(), true);
      assert.equal(bulkhead.inFlight, 8);
    });

    it('lose their slots to a client with fewer slots, until both have the same number', (context) => {
      const advance = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = [1, 2, 3, 4, 5, 6].map(() => startWaiting(bulkhead, 8, user('greedy')));
      fill(bulkhead, 8, undefined);
      advance(199);
      assert.equal(bulkhead.acquire(8, user('other')), false);
      advance(1);
      assert.equal(fill(bulkhead, 8, user('other')), 3);
      assert.deepEqual(
        waits.map((stillWaits) => stillWaits()),
        [false, false, false, true, true, true],
      );
      assert.equal(bulkhead.inFlight, 8);
    });

    it('of clients with a token are not ended for anonymous clients that exceed their share', (context) => {
      const advance = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = [1, 2].map(() => startWaiting(bulkhead, 8, user('alice')));
      for (let index = 0; index < 6; index += 1)
        assert.ok(bulkhead.acquire(8, { id: `address ${index}`, anonymous: true }));
      advance(2000);
      assert.equal(bulkhead.acquire(8, { id: 'address 7', anonymous: true }), false);
      assert.deepEqual(
        waits.map((stillWaits) => stillWaits()),
        [true, true],
      );
    });

    it('are not ended by calls without a client that together have the same number of slots', (context) => {
      const advance = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = ['a', 'b', 'c'].map((id) => startWaiting(bulkhead, 4, user(id)));
      assert.ok(bulkhead.acquire(4, undefined));
      advance(5000);
      assert.equal(bulkhead.acquire(4, undefined), false);
      assert.ok(waits.every((stillWaits) => stillWaits()));
    });

    it('are not ended if the capacity has shrunk and no slot would become free', (context) => {
      const advance = startClock(context);
      const bulkhead = new Bulkhead();
      const waits = [1, 2, 3, 4].map(() => startWaiting(bulkhead, 4, undefined));
      advance(5000);
      assert.equal(bulkhead.acquire(2, undefined), false);
      assert.ok(waits.every((stillWaits) => stillWaits()));
    });
  });
});
