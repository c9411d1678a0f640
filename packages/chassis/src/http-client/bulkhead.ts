/**
 * Bounds the calls in flight to one service, and shares them fairly between clients (bulkhead; Nygard, Release It!). A client that is
 * alone has seven eighths of the capacity. While there are others, a client that has more calls in flight than are left free gets no
 * further one (dynamic threshold; Choudhury and Hahne, 1998): with n greedy clients each holds a share of 1/(n + 1), and that share
 * stays free for clients that have none.
 */
export class Bulkhead {
  #inFlight = 0;
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
  enter(capacity: number, client: string | undefined): boolean {
    const inFlight = this.#inFlight;
    if (inFlight >= capacity) return false;
    if (client !== undefined) {
      const own = this.#byClient.get(client) ?? 0;
      const free = capacity - inFlight;
      if (own > free && (own < inFlight || own >= Math.ceil(capacity * aloneShare))) return false;
      this.#byClient.set(client, own + 1);
    }
    this.#inFlight = inFlight + 1;
    return true;
  }

  /** Gives a slot back that this client has taken. */
  leave(client: string | undefined): void {
    this.#inFlight -= 1;
    if (client === undefined) return;
    const own = this.#byClient.get(client) ?? 0;
    if (own > 1) this.#byClient.set(client, own - 1);
    else this.#byClient.delete(client);
  }
}

const aloneShare = 7 / 8;
