/** Keeps retries a small share of the traffic, so that they cannot turn a failure into a storm. */
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
}

/** A token bucket that calls fill and retries empty (the retry budget of Finagle). It begins empty. */
export function createRetryBudget({ share = 0.1, most = 100 }: RetryBudgetOptions = {}): RetryBudget {
  let saved = 0;
  return {
    deposit() {
      saved = Math.min(most, saved + share);
    },
    withdraw() {
      // Tenths do not add up exactly; ten of them are one.
      if (saved < 1 - 1e-9) return false;
      saved -= 1;
      return true;
    },
  };
}
