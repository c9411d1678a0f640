import type { IncomingMessage } from 'node:http';
import { type BlockList, isIP } from 'node:net';

/** Address of the client of a request: the nearest one that is not a trusted proxy. */
export type ClientAddress = (request: IncomingMessage) => string;

/**
 * Reads `X-Forwarded-For` from its end, for only what a trusted proxy has added is true: whoever is no proxy is the client, whatever
 * they say of others before them.
 * @param trusted proxies whose word is believed; nobody's by default
 */
export function createClientAddress(trusted?: BlockList): ClientAddress {
  return ({ headers, socket }) => {
    let client = plainAddress(socket.remoteAddress ?? '');
    const hops = headers['x-forwarded-for']?.toString().split(',') ?? [];
    while (hops.length > 0 && isTrusted(trusted, client)) {
      const before = addressIn(hops.pop()?.trim() ?? '');
      if (isIP(before) === 0) break;
      client = before;
    }
    return client;
  };
}

/** The address in an entry, which some proxies write with a port, and of IPv6 in brackets. */
function addressIn(entry: string): string {
  const [, bracketed, dotted] = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(entry) ?? [];
  return plainAddress(bracketed ?? dotted ?? entry);
}

/** Whether an address is one of the proxies; what is no address is none. */
export function isTrusted(trusted: BlockList | undefined, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && (trusted?.check(address, version === 6 ? 'ipv6' : 'ipv4') ?? false);
}

/** An IPv4 address may come dressed as IPv6 (RFC 4291, section 2.5.5.2), and is the same one. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}
