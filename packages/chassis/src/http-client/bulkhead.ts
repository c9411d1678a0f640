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
 * A call that waits for its client uses a slot of the service only as long as nobody else needs it.
 */
export class Bulkhead {
  #inFlight = 0;
  #anonymous = 0;
  readonly #byClient = new Map<string, number>();
  /** Calls that wait for their client, the one that has waited longest first. */
  readonly #waiting = new Set<WaitingCall>();

  /** Calls in flight. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Takes a slot; false when there is none for this client. Before that, a call that has waited for its client for a second
   * is ended to make room: any of them where the capacity is used up, one of the client's own where its share is.
   * @param capacity calls in flight at most
   * @param client identifies whose request the call is for; undefined for a call that is not counted by client
   */
  enter(capacity: number, client: CallClient | undefined): boolean {
    const obstacle = this.#obstacle(capacity, client);
    if (obstacle !== undefined) {
      if (!this.#endWaiting(obstacle === 'share' ? client?.id : undefined)) return false;
      if (this.#obstacle(capacity, client) !== undefined) return false;
    }
    if (client !== undefined) {
      this.#byClient.set(client.id, (this.#byClient.get(client.id) ?? 0) + 1);
      if (client.anonymous) this.#anonymous += 1;
    }
    this.#inFlight += 1;
    return true;
  }

  #obstacle(capacity: number, client: CallClient | undefined): 'capacity' | 'share' | undefined {
    const inFlight = this.#inFlight;
    if (inFlight >= capacity) return 'capacity';
    if (client === undefined) return undefined;
    const { id, anonymous } = client;
    if (anonymous && this.#anonymous >= Math.ceil(capacity * anonymousShare)) return 'capacity';
    const own = this.#byClient.get(id) ?? 0;
    const free = capacity - inFlight;
    return own > free && (own < inFlight || own >= Math.ceil(capacity * aloneShare)) ? 'share' : undefined;
  }

  /** Gives a slot back that this client has taken. */
  leave(client: CallClient | undefined): void {
    this.#inFlight -= 1;
    if (client === undefined) return;
    const own = this.#byClient.get(client.id) ?? 0;
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

  /** Ends the call that has waited longest; false when none has waited for long enough. */
  #endWaiting(clientId: string | undefined): boolean {
    const latest = performance.now() - patienceMs;
    for (const call of this.#waiting) {
      if (call.since > latest) return false;
      if (clientId !== undefined && call.client?.id !== clientId) continue;
      this.#waiting.delete(call);
      call.end();
      return true;
    }
    return false;
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
/** Milliseconds that a call may wait for its client while others have no slot. */
const patienceMs = 1000;
