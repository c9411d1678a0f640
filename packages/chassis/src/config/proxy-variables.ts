import { z } from 'zod';
import type { AddressRange } from '../http/addresses.ts';
import { createAddressRanges } from '../http/addresses.ts';
import type { TrustedProxies } from '../http/client-address.ts';
import type { Logger } from '../logging/logger.ts';
import { StartupError } from '../startup-error.ts';
import { addressRanges, count } from './values.ts';

/** The variables of the proxies in front of a service. */
export function proxyVariables() {
  return {
    TRUSTED_PROXY_HOPS: count(0, 16)
      .default(0)
      .describe(
        'Number of proxies in front of this service, each of which appends an address to `X-Forwarded-For`: the client is the entry that the outermost one added. 0 trusts none. Set it only where clients reach the service through all of them.',
      ),
    TRUSTED_PROXIES: addressRanges()
      .optional()
      .describe(
        'Instead of the number: addresses or ranges (CIDR) of the proxies in front of this service, joined by commas; the client is the last address in `X-Forwarded-For` that is not one of them. Not set, no address is trusted.',
      ),
    LOG_CLIENT_ADDRESS: z
      .enum(['full', 'truncated', 'off'])
      .default('truncated')
      .describe(
        'How the line of a request in the log names the client address: `full`; `truncated` to its network, the /24 of IPv4 or the /48 of IPv6; or not at all (`off`).',
      ),
  };
}

/** The variables of proxies, read. */
export interface ProxyConfig {
  readonly TRUSTED_PROXY_HOPS: number;
  readonly TRUSTED_PROXIES?: TrustedProxies['ranges'];
}

/**
 * Returns the proxies that the configuration trusts. Logs a warning when a range is so wide that it holds clients too: each client
 * in it could make up its address.
 * @throws StartupError (78) when proxies are set both by number and by address
 */
export function trustedProxies(config: ProxyConfig, logger: Logger): TrustedProxies {
  const { TRUSTED_PROXY_HOPS: hops, TRUSTED_PROXIES: ranges } = config;
  if (hops > 0 && ranges !== undefined) {
    throw new StartupError(
      'TRUSTED_PROXY_HOPS and TRUSTED_PROXIES are both set: set the number of proxies in front of the service, or their addresses, and remove the other',
      78,
    );
  }
  const wide = ranges?.ranges.filter(isWide).map(({ address, prefix }) => `${address}/${prefix}`) ?? [];
  if (wide.length > 0) logger.warn({ ranges: wide }, 'TRUSTED_PROXIES is wider than proxy networks are');
  return { hops, ranges };
}

/**
 * Whether a range is wider than the network of a proxy or of a cluster's pods. Those have a prefix of 12 and more for IPv4, and of
 * 28 and more for IPv6, as do the ranges that content delivery networks publish. Wide are also the private ranges with such a prefix
 * as a whole (RFC 1918); 10.0.0.0/8, 100.64.0.0/10 (RFC 6598) and fc00::/7 (RFC 4193) are wide by their prefix. Loopback never is.
 */
function isWide(range: AddressRange): boolean {
  const { address, prefix, family } = range;
  const { contains } = createAddressRanges([range]);
  // IPv4 is part of IPv6 (::ffff:0:0/96), so a range of IPv6 that holds one IPv4 address holds all of them.
  if (family === 'ipv6') return prefix < 28 || contains('192.0.2.1');
  if (address.startsWith('127.') && prefix >= 8) return false;
  return (
    prefix < 12 || (prefix === 12 && contains('172.16.0.0')) || (prefix <= 16 && contains('192.168.0.0'))
  );
}
