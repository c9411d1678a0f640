import type { IncomingMessage } from 'node:http';
import { type BlockList, isIP, isIPv6 } from 'node:net';

/** Address of the client of a request: the nearest one that is not a trusted proxy. */
export type ClientAddress = (request: IncomingMessage) => string;

/**
 * Reads `X-Forwarded-For` from its end, for only what a trusted proxy has added is true: whoever is no proxy is the client, whatever
 * they say of others before them.
 * @param trusted proxies whose word is believed; nobody's by default
 */
export function createClientAddress(trusted?: BlockList): ClientAddress {
  return ({ headers, socket }) => {
    let client = plain(socket.remoteAddress ?? '');
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
  return plain(bracketed ?? dotted ?? entry);
}

function isTrusted(trusted: BlockList | undefined, address: string): boolean {
  return trusted?.check(address, isIPv6(address) ? 'ipv6' : 'ipv4') ?? false;
}

/** An address of IPv4 is the same one when it came over a socket of IPv6. */
function plain(address: string): string {
  return address.replace(/^::ffff:/, '');
}
