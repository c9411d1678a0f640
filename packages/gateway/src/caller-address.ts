import type { IncomingMessage } from 'node:http';
import type { BlockList } from 'node:net';
import { type ClientAddress, createClientAddress } from '@zerda/chassis/http/client-address';
import type { Peers } from './peers.ts';

/**
 * The address of who asks, behind the configured proxies. Only `X-Forwarded-For` says more than the connection does: `Forwarded` is
 * passed on by common proxies as the client wrote it.
 * @param onDistrust told of the address of whoever else says for whom it asks, which may be a proxy that is not configured
 */
export function createCallerAddress(
  peers: Peers,
  trusted?: BlockList,
  onDistrust: (address: string) => void = () => undefined,
): ClientAddress {
  const behindProxies = createClientAddress(trusted);
  return (request: IncomingMessage) => {
    const { address, believed } = peers(request.socket);
    if (request.headers['x-forwarded-for'] === undefined) return address;
    if (believed) return behindProxies(request);
    onDistrust(address);
    return address;
  };
}

/**
 * What an address counts as: itself, and of IPv6 its /64, which is the least that one customer is given (RFC 6177): whoever
 * has one has 2^64 addresses to ask from.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.replace(/%.*$/, '').toLowerCase().split('::');
  const groups = groupsOf(head);
  if (tail !== undefined) {
    const after = groupsOf(tail);
    while (groups.length + after.length < 8) groups.push('0');
    groups.push(...after);
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}

/** The groups of one side of `::`; an IPv4 address at the end stands for two. */
function groupsOf(text: string): string[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => (group.includes('.') ? ['0', '0'] : [group]));
}
