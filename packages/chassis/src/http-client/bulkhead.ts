/** The client whose request a call is for. */
export interface CallClient {
  /** Identifies it among all clients. */
  readonly id: string;
  /** Whether authentication is required and the client has shown no token: then it is known by its address alone. */
  readonly anonymous: boolean;
}

/**
 * Bounds the calls in flight to one service, and shares them fairly between clients (bulkhead; Nygard, Release It!). A client that is
 * alone has seven eighths of the capacity. While there are others, a client that has more calls in flight than are left free gets no
 * further one (dynamic threshold; Choudhury and Hahne, 1998): with n greedy clients each holds a share of 1/(n + 1), and that share
 * stays free for clients that have none. Anonymous clients, which can have any number of addresses, together have three quarters.
 * Another call may take the slot of a call that waits for its client.
 */
export class Bulkhead {
  #inFlight = 0;
  #anonymous = 0;
  /** Calls that are not counted by client. */
  #uncounted = 0;
  readonly #byClient = new Map<string, number>();
  /** Calls that wait for their client, the one that has waited longest first. */
  readonly #waiting = new Set<WaitingCall>();

  /** Calls in flight. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Takes a slot; false when there is none for this client. Where there is none, it takes that of a call which waits for its client and
   * is ended: one of its own that has waited for a second, or one of a client that has more slots that has waited for a fifth of that.
   * @param capacity calls in flight at most
   * @param client identifies whose request the call is for; undefined for a call that is not counted by client: all of these are one
   */
  enter(capacity: number, client: CallClient | undefined): boolean {
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
    if (this.#isAnonymousShareUsed(capacity, client)) return false;
    const own = this.#slotsOf(client);
    const free = capacity - inFlight;
    return own <= free || (own >= inFlight && own < Math.ceil(capacity * aloneShare));
  }

  #isAnonymousShareUsed(capacity: number, { anonymous }: CallClient): boolean {
    return anonymous && this.#anonymous >= Math.ceil(capacity * anonymousShare);
  }

  #slotsOf(client: CallClient | undefined): number {
    return client === undefined ? this.#uncounted : (this.#byClient.get(client.id) ?? 0);
  }

  /** Ends the call that has waited longest among those whose slot this client may take; false when there is none. */
  #replaceWaiting(capacity: number, client: CallClient | undefined): boolean {
    // One ended call would not make room where the capacity has become less.
    if (this.#inFlight > capacity) return false;
    const own = this.#slotsOf(client);
    const needsAnonymous = client !== undefined && this.#isAnonymousShareUsed(capacity, client);
    const now = performance.now();
    for (const call of this.#waiting) {
      const waitedMs = now - call.since;
      if (waitedMs < impatienceMs) return false;
      if (needsAnonymous && call.client?.anonymous !== true) continue;
      const hasMore = this.#slotsOf(call.client) > own + 1;
      const isOwn = call.client?.id === client?.id;
      if (isOwn ? waitedMs < patienceMs : !hasMore) continue;
      this.#waiting.delete(call);
      call.end();
      return this.#inFlight < capacity;
    }
    return false;
  }

  /** Gives a slot back that this client has taken. */
  leave(client: CallClient | undefined): void {
    this.#inFlight -= 1;
    if (client === undefined) {
      this.#uncounted -= 1;
      return;
    }
    const own = this.#slotsOf(client);
    if (own > 1) this.#byClient.set(client.id, own - 1);
    else this.#byClient.delete(client.id);
    if (client.anonymous) this.#anonymous -= 1;
  }

  /**
   * Marks a call in flight as one that waits for its client: to send the rest of its request, or to take the response.
   * @param end ends the call and gives its slot back, before it returns
   * @returns removes the mark
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
  /** On the clock of `performance.now()`. */
  readonly since: number;
}

const aloneShare = 7 / 8;
const anonymousShare = 3 / 4;
/** Milliseconds that a call may wait for its client while another request of the client has no slot. */
const patienceMs = 1000;
/** The same while a client with fewer slots has none for its request: retries of the many must not keep all calls younger than that. */
const impatienceMs = 200;
