/** Loopback addresses of clients, each of which is another one. */
export interface Addresses {
  next(): string;
}

/** Hosts of a network: all but the ones that end in 0 and 255. */
const hosts = 254;

/** Addresses from `127.<first>.0.1` on. @throws RangeError when the networks up to 127.255 are used up */
export function createAddresses(first: number): Addresses {
  let count = 0;
  return {
    next() {
      const network = Math.floor(count / hosts);
      const second = first + (network >> 8);
      if (second > 255) throw new RangeError(`no address is left above 127.${first}.0.0`);
      const address = `127.${second}.${network & 255}.${(count % hosts) + 1}`;
      count += 1;
      return address;
    },
  };
}
