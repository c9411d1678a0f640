import { z } from 'zod';
import type { AddressRange } from '../http/addresses.ts';
import { createAddressRanges } from '../http/addresses.ts';
import type { TrustedProxies } from '../http/client-address.ts';
import type { Logger } from '../logging/logger.ts';
import { StartupError } from '../startup-error.ts';
import { addressRanges, count } from './values.ts';

/** Returns the variables of the proxies in front of a service. */
export function proxyVariables() {
  return {
    TRUSTED_PROXY_HOPS: count(0, 16)
      .default(0)
      .describe(
        'Number of trusted proxies in front of this service. Each one must append an address to `X-Forwarded-For`; the client address is the entry of the outermost one. 0 trusts none. Set it only if all requests pass through all of them.',
      ),
    TRUSTED_PROXIES: addressRanges()
      .optional()
      .describe(
        'Comma-separated addresses or ranges (CIDR) of trusted proxies, instead of their number. The client address is the last address in `X-Forwarded-For` that is not one of them. If not set, no address is trusted.',
      ),
    LOG_CLIENT_ADDRESS: z
      .enum(['full', 'truncated', 'off'])
      .default('truncated')
      .describe(
        'Client address in the request log: `full`, `truncated` to its network (the /24 of IPv4 or the /48 of IPv6), or `off`.',
      ),
  };
}

/** Parsed values of `proxyVariables`. */
export interface ProxyConfig {
  readonly TRUSTED_PROXY_HOPS: number;
  readonly TRUSTED_PROXIES?: TrustedProxies['ranges'];
}

/**
 * Returns the trusted proxies. Logs a warning if a range is so wide that it may include clients, because those could then spoof their
 * address.
 * @throws StartupError (78) if both the number and the addresses of proxies are set
 */
export function trustedProxies(config: ProxyConfig, logger: Logger): TrustedProxies {
  const { TRUSTED_PROXY_HOPS: hops, TRUSTED_PROXIES: ranges } = config;
  if (hops > 0 && ranges !== undefined) {
    throw new StartupError(
      'TRUSTED_PROXY_HOPS and TRUSTED_PROXIES are both set. Set the number of proxies or their addresses, and remove the other variable.',
      78,
    );
  }
  const wide = ranges?.ranges.filter(isWide).map(({ address, prefix }) => `${address}/${prefix}`) ?? [];
  if (wide.length > 0) logger.warn({ ranges: wide }, 'TRUSTED_PROXIES may include clients');
  return { hops, ranges };
}

/**
 * Returns whether a range is wider than networks of proxies or pods. These have a prefix of at least 12 (IPv4) or 28 (IPv6), as have the
 * ranges that content delivery networks publish. The whole private ranges 172.16.0.0/12 and 192.168.0.0/16 (RFC 1918) also count as
 * wide. Loopback never does.
 */
function isWide(range: AddressRange): boolean {
  const { address, prefix, family } = range;
  const { contains } = createAddressRanges([range]);
  // IPv4 is ::ffff:0:0/96 of IPv6. An IPv6 range of this width that includes one IPv4 address includes all of them.
  if (family === 'ipv6') return prefix < 28 || contains('192.0.2.1');
  if (address.startsWith('127.') && prefix >= 8) return false;
  return (
    prefix < 12 || (prefix === 12 && contains('172.16.0.0')) || (prefix <= 16 && contains('192.168.0.0'))
  );
}
