import { BlockList, isIP, isIPv6 } from 'node:net';

/** A range of addresses (CIDR, RFC 4632 and RFC 4291, section 2.3); one address is a range with the longest prefix. */
export interface AddressRange {
  /** An address of the range. */
  readonly address: string;
  /** Number of leading bits that all addresses of the range share. */
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** Several ranges of addresses. */
export interface AddressRanges {
  readonly ranges: readonly AddressRange[];
  /** Whether an address is in one of the ranges. Text that is not an address is in none. */
  contains(address: string): boolean;
}

/** Reads an address or a range such as `10.0.0.0/8`; undefined for text that is neither. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [address = '', bits, ...rest] = text.split('/');
  const longest = isIP(address) === 6 ? 128 : 32;
  const prefix = bits === undefined ? longest : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (isIP(address) === 0 || !(prefix <= longest) || rest.length > 0) return undefined;
  const plain = plainAddress(address);
  if (isIPv6(plain)) return { address: plain, prefix, family: 'ipv6' };
  // An IPv4 range written as IPv6 loses the 96 bits that say so.
  const shorter = longest === 128 ? prefix - 96 : prefix;
  return shorter < 0
    ? { address, prefix, family: 'ipv6' }
    : { address: plain, prefix: shorter, family: 'ipv4' };
}

/** Collects ranges for look-ups. */
export function createAddressRanges(ranges: readonly AddressRange[]): AddressRanges {
  const list = new BlockList();
  for (const { address, prefix, family } of ranges) list.addSubnet(address, prefix, family);
  return {
    ranges,
    contains(address) {
      const version = isIP(address);
      return version !== 0 && list.check(address, version === 6 ? 'ipv6' : 'ipv4');
    },
  };
}

/**
 * Returns an address without its zone (RFC 4007, section 11), in lower case, and an IPv4-mapped IPv6 address
 * (RFC 4291, section 2.5.5.2) as IPv4: each address has one spelling for its version. Other text is returned as it is.
 */
export function plainAddress(address: string): string {
  if (!isIPv6(address)) return address;
  const plain = address.replace(/%.*$/, '').toLowerCase();
  // Mapped addresses begin with zeros: the groups of all others need not be read.
  return (/^[0:]/.test(plain) && embeddedIPv4(groupsOf(plain), mappedPrefix)) || plain;
}

/**
 * Returns the network that counts as one client. This is the address itself for IPv4, and for IPv6 its /64, which is the least
 * that a subscriber is assigned (RFC 6177). An IPv4 address translated to IPv6 (`64:ff9b::/96`, RFC 6052, section 2.1) counts as
 * IPv4: otherwise all IPv4 clients behind a translator would share one /64.
 */
export function networkOf(address: string): string {
  const plain = plainAddress(address);
  if (!isIPv6(plain)) return plain;
  const groups = groupsOf(plain);
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return embeddedIPv4(groups, translatedPrefix) ?? `${network.join(':')}::/64`;
}

/** Returns the network of an address that holds many subscribers: the /24 of IPv4, the /48 of IPv6. Other text is returned as it is. */
export function truncateAddress(address: string): string {
  const plain = plainAddress(address);
  if (isIPv6(plain)) {
    const network = groupsOf(plain).slice(0, 3);
    return `${network.map((group) => group.toString(16)).join(':')}::/48`;
  }
  return isIP(plain) === 4 ? `${plain.slice(0, plain.lastIndexOf('.'))}.0/24` : plain;
}

/** First six groups of IPv4-mapped addresses. */
const mappedPrefix = [0, 0, 0, 0, 0, 0xffff];
/** First six groups of addresses that a translator makes of IPv4. */
const translatedPrefix = [0x64, 0xff9b, 0, 0, 0, 0];

/** The IPv4 address in the last two groups, where the first six are `prefix`. */
function embeddedIPv4(groups: readonly number[], prefix: readonly number[]): string | undefined {
  if (prefix.some((group, index) => groups[index] !== group)) return undefined;
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 255])
    .join('.');
}

/** The eight groups of a valid IPv6 address. */
function groupsOf(address: string): number[] {
  const [head = '', tail = ''] = address.split('::');
  const [before, after] = [sideOf(head), sideOf(tail)];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** The groups on one side of `::`; an IPv4 address at the end stands for two. */
function sideOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}
