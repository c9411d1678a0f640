import type { IncomingMessage } from 'node:http';
import { type BlockList, isIP, isIPv6 } from 'node:net';
import { isTrusted, type Peers, plainAddress } from './peers.ts';

/** Tells the address of who asks, as far as it can be believed. */
export type ClientAddress = (request: IncomingMessage) => string;

/**
 * The address behind the configured proxies: in `X-Forwarded-For` each of them has appended whom it heard from, so the last
 * one that is not itself a trusted proxy is the client. Entries before it are that client's own word, and are not read;
 * nor is `Forwarded`, which common proxies pass on as the client wrote it.
 * @param onDistrust told of the address of whoever else says for whom it asks, which may be a proxy that is not configured
 */
export function createClientAddress(
  peers: Peers,
  trusted?: BlockList,
  onDistrust: (address: string) => void = () => undefined,
): ClientAddress {
  return (request) => {
    const { address, believed } = peers(request.socket);
    const header = request.headers['x-forwarded-for'];
    if (header === undefined) return address;
    if (!believed) {
      onDistrust(address);
      return address;
    }
    let client = address;
    const hops = String(header).split(',');
    for (let index = hops.length - 1; index >= 0; index -= 1) {
      const hop = addressIn(hops[index] ?? '');
      if (hop === undefined) break;
      client = hop;
      if (!isTrusted(trusted, hop)) break;
    }
    return client;
  };
}

/** The address in an entry, which some proxies write with a port, and IPv6 in brackets. */
function addressIn(entry: string): string | undefined {
  const text = entry.trim();
  const [, bracketed, dotted] = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(text) ?? [];
  const address = plainAddress(bracketed ?? dotted ?? text);
  return isIP(address) === 0 ? undefined : address;
}

/**
 * What an address counts as: itself, and of IPv6 its /64, which is the least that one customer is given (RFC 6177): whoever
 * has one has 2^64 addresses to ask from.
 */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
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
