import type { CallClient } from '@zerda/chassis/request-context';
import type { Bulkhead } from './bulkhead.ts';

/**
 * The bulkhead slot of one call. The call and the bodies that are sent after it hold the slot. It is released when the last of them
 * ends, or when another call takes it over.
 */
export class CallSlot {
  readonly #bulkhead: Bulkhead;
  readonly #client: CallClient | undefined;
  #holds = 1;
  #isFree = false;

  /** @param bulkhead has acquired the slot for `client` */
  constructor(bulkhead: Bulkhead, client: CallClient | undefined) {
    this.#bulkhead = bulkhead;
    this.#client = client;
  }

  /** Holds the slot until the returned function is called. */
  hold(): () => void {
    this.#holds += 1;
    let isHeld = true;
    return () => {
      if (isHeld) this.release();
      isHeld = false;
    };
  }

  /** Ends one hold. */
  release(): void {
    this.#holds -= 1;
    if (this.#holds === 0) this.#free();
  }

  /**
   * Lets another call take over the slot.
   * @param end ends this call when that happens
   * @returns a function that ends this permission
   */
  waitForClient(end: () => void): () => void {
    return this.#bulkhead.waitForClient(this.#client, () => {
      end();
      this.#free();
    });
  }

  #free(): void {
    if (!this.#isFree) this.#bulkhead.release(this.#client);
    this.#isFree = true;
  }
}
