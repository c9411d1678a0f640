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
 */
export class Bulkhead {
  #inFlight = 0;
  #anonymous = 0;
  readonly #byClient = new Map<string, number>();

  /** Calls in flight. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Takes a slot; false when there is none for this client.
   * @param capacity calls in flight at most
   * @param client identifies whose request the call is for; undefined for a call that is not counted by client
   */
  enter(capacity: number, client: CallClient | undefined): boolean {
    const inFlight = this.#inFlight;
    if (inFlight >= capacity) return false;
    if (client !== undefined) {
      const { id, anonymous } = client;
      if (anonymous && this.#anonymous >= Math.ceil(capacity * anonymousShare)) return false;
      const own = this.#byClient.get(id) ?? 0;
      const free = capacity - inFlight;
      if (own > free && (own < inFlight || own >= Math.ceil(capacity * aloneShare))) return false;
      this.#byClient.set(id, own + 1);
      if (anonymous) this.#anonymous += 1;
    }
    this.#inFlight = inFlight + 1;
    return true;
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
}

const aloneShare = 7 / 8;
const anonymousShare = 3 / 4;
