/** Limits retries, so that a failure does not cause a retry storm. */
export interface RetryBudget {
  /** Counts the first attempt of a call. */
  deposit(): void;
  /** Requests a retry; false if the budget is exhausted. */
  withdraw(): boolean;
}

export interface RetryBudgetOptions {
  /** Retries per call; 0.1 by default, which is one retry for ten calls. */
  readonly ratio?: number;
  /** Maximum number of accumulated retries; 100 by default. */
  readonly max?: number;
  /** Additional retries per second, independent of the number of calls; 10 by default. */
  readonly perSecond?: number;
}

/**
 * Creates a retry budget of two token buckets, as in Finagle and Linkerd. Calls fill one, time fills the other, which starts full. So a
 * system with little traffic can retry any failed call, and a busy one retries one call in ten.
 */
export function createRetryBudget({
  ratio = 0.1,
  max = 100,
  perSecond = 10,
}: RetryBudgetOptions = {}): RetryBudget {
  let accumulated = 0;
  let available = perSecond;
  let refilledAt = performance.now();

  function refill(): void {
    const now = performance.now();
    available = Math.min(perSecond, available + ((now - refilledAt) * perSecond) / 1000);
    refilledAt = now;
  }

  return {
    deposit() {
      accumulated = Math.min(max, accumulated + ratio);
    },
    withdraw() {
      // Tolerance for floating-point sums: ten times 0.1 must count as 1.
      if (accumulated >= 1 - 1e-9) {
        accumulated -= 1;
        return true;
      }
      refill();
      if (available < 1) return false;
      available -= 1;
      return true;
    },
  };
}
