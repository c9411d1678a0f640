/** A sequence of distinct loopback addresses for clients. */
export interface Addresses {
  next(): string;
}

/** Addresses per /24 network, without those that end in 0 and 255. */
const hosts = 254;

/**
 * Creates a sequence of addresses that starts at `127.<first>.0.1`.
 * @throws RangeError after the last address of 127.255.0.0/16
 */
export function createAddresses(first: number): Addresses {
  let count = 0;
  return {
    next() {
      const network = Math.floor(count / hosts);
      const second = first + (network >> 8);
      if (second > 255) throw new RangeError(`No address is left above 127.${first}.0.0`);
      const address = `127.${second}.${network & 255}.${(count % hosts) + 1}`;
      count += 1;
      return address;
    },
  };
}
