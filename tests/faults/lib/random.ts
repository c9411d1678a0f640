/** Chances that come out the same for the same seed. */
export interface Random {
  /** At least 0, below 1. */
  next(): number;
  /** A whole number, both bounds included. */
  between(least: number, most: number): number;
  pick<T>(from: readonly [T, ...T[]]): T;
  /** True with that probability. */
  chance(probability: number): boolean;
  /** The same things in another order. */
  shuffle<T>(things: readonly T[]): T[];
}

/** Mulberry32: 32 bits of state, which is enough to choose faults by. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;

  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  return {
    next,
    between: (least, most) => least + Math.floor(next() * (most - least + 1)),
    pick: (from) => from[Math.floor(next() * from.length)] ?? from[0],
    chance: (probability) => next() < probability,
    shuffle(things) {
      const keyed = things.map((thing) => ({ thing, key: next() }));
      return keyed.sort((a, b) => a.key - b.key).map(({ thing }) => thing);
    },
  };
}
