import { BlockList, isIP, isIPv6 } from 'node:net';

/** An address range in CIDR notation (RFC 4632; RFC 4291, section 2.3). A single address is a range with the longest prefix. */
export interface AddressRange {
  /** Any address in the range. */
  readonly address: string;
  /** Prefix length in bits. */
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** A set of address ranges. */
export interface AddressRanges {
  readonly ranges: readonly AddressRange[];
  /** Returns whether an address is in one of the ranges; false for text that is not an address. */
  contains(address: string): boolean;
}

/** Addresses that mean all interfaces, each with the loopback address of its family. */
export const loopbackOf: ReadonlyMap<string, string> = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '::1'],
]);

/** Returns the URL of a server on this machine that listens on `host`; all interfaces are reached by the loopback address. */
export function localUrl(host: string, port: number): string {
  const reachable = loopbackOf.get(host) ?? host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

/** Parses an address or a range such as `10.0.0.0/8`; undefined for any other text. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [address = '', bits, ...rest] = text.split('/');
  const maxPrefix = isIP(address) === 6 ? 128 : 32;
  const prefix = bits === undefined ? maxPrefix : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
  if (isIP(address) === 0 || !(prefix <= maxPrefix) || rest.length > 0) return undefined;
  const normalized = normalizeAddress(address);
  if (isIPv6(normalized)) return { address: normalized, prefix, family: 'ipv6' };
  // An IPv4-mapped IPv6 range becomes an IPv4 range without the 96-bit prefix.
  const ipv4Prefix = maxPrefix === 128 ? prefix - 96 : prefix;
  return ipv4Prefix < 0
    ? { address, prefix, family: 'ipv6' }
    : { address: normalized, prefix: ipv4Prefix, family: 'ipv4' };
}

/** Creates a set of address ranges for lookups. */
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
 * Returns an address in lower case and without its zone (RFC 4007, section 11). An IPv4-mapped IPv6 address (RFC 4291,
 * section 2.5.5.2) becomes IPv4. Text that is not an IPv6 address is returned unchanged.
 */
export function normalizeAddress(address: string): string {
  if (!isIPv6(address)) return address;
  const normalized = address.replace(/%.*$/, '').toLowerCase();
  // Mapped addresses begin with zeros. All others need no parsing.
  return (/^[0:]/.test(normalized) && embeddedIPv4(parseIPv6(normalized), mappedPrefix)) || normalized;
}

/**
 * Returns the network that counts as one client: the address itself for IPv4, the /64 for IPv6, the smallest network that a subscriber
 * is assigned (RFC 6177). An IPv4 address translated to IPv6 (`64:ff9b::/96`, RFC 6052, section 2.1) counts as IPv4. Otherwise all IPv4
 * clients behind a translator would share one /64.
 */
export function networkOf(address: string): string {
  const normalized = normalizeAddress(address);
  if (!isIPv6(normalized)) return normalized;
  const groups = parseIPv6(normalized);
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return embeddedIPv4(groups, translatedPrefix) ?? `${network.join(':')}::/64`;
}

/** Returns the anonymized form of an address: its /24 for IPv4, its /48 for IPv6. Other text is returned unchanged. */
export function truncateAddress(address: string): string {
  const normalized = normalizeAddress(address);
  if (isIPv6(normalized)) {
    const network = parseIPv6(normalized).slice(0, 3);
    return `${network.map((group) => group.toString(16)).join(':')}::/48`;
  }
  return isIP(normalized) === 4 ? `${normalized.slice(0, normalized.lastIndexOf('.'))}.0/24` : normalized;
}

/** First six groups of IPv4-mapped addresses. */
const mappedPrefix = [0, 0, 0, 0, 0, 0xffff];
/** First six groups of IPv4 addresses translated to IPv6 (NAT64). */
const translatedPrefix = [0x64, 0xff9b, 0, 0, 0, 0];

/** Returns the IPv4 address in the last two groups if the first six equal `prefix`. */
function embeddedIPv4(groups: readonly number[], prefix: readonly number[]): string | undefined {
  if (prefix.some((group, index) => groups[index] !== group)) return undefined;
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 255])
    .join('.');
}

/** Returns the eight groups of a valid IPv6 address. */
function parseIPv6(address: string): number[] {
  const [head = '', tail = ''] = address.split('::');
  const [before, after] = [parseGroups(head), parseGroups(tail)];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** Returns the groups on one side of `::`; an IPv4 address at the end is two groups. */
function parseGroups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}
