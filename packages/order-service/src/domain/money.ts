/** Converts an amount with at most two decimals to integer cents. Exact for every amount that the contract allows. */
export function toCents(amount: number): number {
  return Math.round(amount * 100);
}

/** Converts integer cents to an amount with two decimals. */
export function toAmount(cents: number): number {
  return cents / 100;
}
