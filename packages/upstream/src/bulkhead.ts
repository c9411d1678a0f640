import type { CallClient } from '@zerda/chassis/request-context';

/**
 * Limits the calls in flight to one service and shares the slots fairly between clients (bulkhead; Nygard, Release It!).
 *
 * One eighth of the slots that a client could get is for clients without a slot: requests of many clients can arrive at once. A single
 * client can use the rest. With several clients, a client gets no further slot while it has at least as many as are free of the rest
 * (dynamic threshold; Choudhury and Hahne, 1998). So n greedy clients hold 1/(n + 1) of the rest each, and the same share of it stays free. Anonymous clients together
 * can use three quarters of the capacity, because one attacker may have many addresses, and share these by the same rules. A call that
 * waits for its client can lose its slot to another call.
 */
export class Bulkhead {
  #inFlight = 0;
  #anonymous = 0;
  /** Calls that are not counted by client. */
  #uncounted = 0;
  readonly #byClient = new Map<string, number>();
  /** Calls that wait for their client, longest wait first. */
  readonly #waiting = new Set<WaitingCall>();

  /** Calls in flight. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Acquires a slot and returns whether this succeeded. If none is available to this client, it may end a call that waits for its client
   * and take over the slot. Such a call belongs to the same client and has waited for 1 s, or to a client with more slots and has waited
   * for 200 ms.
   * @param capacity maximum number of calls in flight
   * @param client client of the call; calls with undefined count as one client
   */
  acquire(capacity: number, client: CallClient | undefined): boolean {
    if (!this.#hasSlot(capacity, client) && !this.#replaceWaiting(capacity, client)) return false;
    this.#inFlight += 1;
    if (client === undefined) {
      this.#uncounted += 1;
      return true;
    }
    this.#byClient.set(client.id, this.#slotsOf(client) + 1);
    if (client.anonymous) this.#anonymous += 1;
    return true;
  }

  #hasSlot(capacity: number, client: CallClient | undefined): boolean {
    const inFlight = this.#inFlight;
    if (inFlight >= capacity) return false;
    if (client === undefined) return true;
    const share = client.anonymous ? anonymousSlots(capacity) : capacity;
    const free = Math.min(capacity - inFlight, share - (client.anonymous ? this.#anonymous : 0));
    const clientSlots = this.#slotsOf(client);
    if (clientSlots === 0) return free > 0;
    // A client with a token cannot get the slots that anonymous clients hold.
    const available = client.anonymous ? share : capacity - this.#anonymous;
    const firstSlots = Math.floor(available * firstSlotsShare);
    const isAlone = clientSlots >= inFlight;
    return clientSlots < free - firstSlots || (isAlone && clientSlots < share - firstSlots);
  }

  #isAnonymousShareUsed(capacity: number, { anonymous }: CallClient): boolean {
    return anonymous && this.#anonymous >= anonymousSlots(capacity);
  }

  #slotsOf(client: CallClient | undefined): number {
    return client === undefined ? this.#uncounted : (this.#byClient.get(client.id) ?? 0);
  }

  /** Ends the longest waiting call whose slot this client may take over. Returns whether that freed a slot. */
  #replaceWaiting(capacity: number, client: CallClient | undefined): boolean {
    // If the capacity has shrunk, ending one call would not free a slot.
    if (this.#inFlight > capacity) return false;
    const clientSlots = this.#slotsOf(client);
    const needsAnonymous = client !== undefined && this.#isAnonymousShareUsed(capacity, client);
    const now = performance.now();
    for (const call of this.#waiting) {
      const waitedMs = now - call.since;
      if (waitedMs < otherClientWaitMs) return false;
      if (needsAnonymous && call.client?.anonymous !== true) continue;
      const hasMoreSlots = this.#slotsOf(call.client) > clientSlots + 1;
      const isSameClient = call.client?.id === client?.id;
      if (isSameClient ? waitedMs < sameClientWaitMs : !hasMoreSlots) continue;
      this.#waiting.delete(call);
      call.end();
      return this.#inFlight < capacity;
    }
    return false;
  }

  /** Releases a slot of this client. */
  release(client: CallClient | undefined): void {
    this.#inFlight -= 1;
    if (client === undefined) {
      this.#uncounted -= 1;
      return;
    }
    const clientSlots = this.#slotsOf(client);
    if (clientSlots > 1) this.#byClient.set(client.id, clientSlots - 1);
    else this.#byClient.delete(client.id);
    if (client.anonymous) this.#anonymous -= 1;
  }

  /**
   * Marks a call as waiting for its client, which must send the rest of the request or read the response.
   * @param end ends the call and releases its slot synchronously
   * @returns a function that removes the mark
   */
  waitForClient(client: CallClient | undefined, end: () => void): () => void {
    const call = { client, end, since: performance.now() };
    this.#waiting.add(call);
    return () => this.#waiting.delete(call);
  }
}

interface WaitingCall {
  readonly client: CallClient | undefined;
  readonly end: () => void;
  /** Time of `performance.now()`. */
  readonly since: number;
}

/** Share of the slots that only clients without a slot get. */
const firstSlotsShare = 1 / 8;

/** Maximum slots of all anonymous clients together. */
function anonymousSlots(capacity: number): number {
  return Math.ceil((capacity * 3) / 4);
}

/** Milliseconds after which a waiting call can lose its slot to another call of the same client. */
const sameClientWaitMs = 1000;
/**
 * Milliseconds after which it can lose its slot to a client with fewer slots. A longer time would spare clients that reconnect
 * constantly, since none of their calls waits for long.
 */
const otherClientWaitMs = 200;
