/** Whole cents of an amount with two decimals, as the contract lets in: within them no digit is lost. */
export function toCents(amount: number): number {
  return Math.round(amount * 100);
}

/** The amount of whole cents, as the number that is written with the same two decimals. */
export function toAmount(cents: number): number {
  return cents / 100;
}
