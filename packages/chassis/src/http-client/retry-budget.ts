/** Bounds retries, so that they cannot turn a failure into a storm. */
export interface RetryBudget {
  /** Counts a call that is made for the first time. */
  deposit(): void;
  /** Takes leave to make a call again; false when retries have had their share. */
  withdraw(): boolean;
}

export interface RetryBudgetOptions {
  /** Retries a call brings; 0.1 by default: one retry for ten calls. */
  readonly share?: number;
  /** Retries that can be saved up; 100 by default. */
  readonly most?: number;
  /** Retries a second that are allowed beside the share, however few calls there are; 10 by default. */
  readonly perSecond?: number;
}

/**
 * Two token buckets, as in the retry budgets of Finagle and Linkerd: calls fill one with their share, time fills the other, which begins
 * full. So a quiet system repeats its first call that meets a connection that was just being closed, and a busy one repeats one in ten.
 */
export function createRetryBudget({
  share = 0.1,
  most = 100,
  perSecond = 10,
}: RetryBudgetOptions = {}): RetryBudget {
  let saved = 0;
  let free = perSecond;
  let refilledAt = performance.now();

  function refill(): void {
    const now = performance.now();
    free = Math.min(perSecond, free + ((now - refilledAt) * perSecond) / 1000);
    refilledAt = now;
  }

  return {
    deposit() {
      saved = Math.min(most, saved + share);
    },
    withdraw() {
      // Tenths do not add up exactly; ten of them are one.
      if (saved >= 1 - 1e-9) {
        saved -= 1;
        return true;
      }
      refill();
      if (free < 1) return false;
      free -= 1;
      return true;
    },
  };
}
