import type { IncomingMessage } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { Logger } from '../logging/logger.ts';
import { type AddressRanges, plainAddress } from './addresses.ts';

/** Which proxies in front of a service it believes; at most one of the two is set. */
export interface TrustedProxies {
  /** Number of proxies in front, each of which appends its client to `X-Forwarded-For`; 0 when they are not counted. */
  readonly hops: number;
  /** Addresses of the proxies, where they are known by address. */
  readonly ranges?: AddressRanges | undefined;
}

/** The client of a request. */
export interface Client {
  /** Its address; `unknown` when the connection closed before the address was read. */
  readonly address: string;
  /** The request came through the trusted proxies: what they write into every request is true. */
  readonly proxied: boolean;
}

/** What is known of a connection. */
interface Connection {
  /** Its other end; `proxied` says whether that is a trusted proxy by its address. */
  readonly peer: Client;
  /** The client of its last request: policies and forwarding ask for the same one, and it seldom changes. */
  last: { readonly header: string | undefined; readonly client: Client } | undefined;
}

/** Characters of `X-Forwarded-For` that are remembered for a connection: enough for a few proxies. */
const maxRememberedLength = 200;

/** Finds the client of a request. */
export type ClientLookup = (request: IncomingMessage) => Client;

/** Returns the address of the client of a request. */
export type ClientAddress = (request: IncomingMessage) => string;

/**
 * Finds the clients of requests by the connection and `X-Forwarded-For`. No other header is read: common proxies pass on
 * `Forwarded` and `X-Real-IP` as the client wrote them. The header is read from its end, where the proxies append, and never
 * beyond what the trusted ones wrote:
 * - By number (`hops`), the client is the entry that the outermost proxy wrote, as with Envoy's `xff_num_trusted_hops` and the
 *   number of Express's `trust proxy`. With fewer entries than hops the request did not come through all proxies, so it is the other
 *   end of the connection, as with Envoy. Where an entry is not an address, the next one that a nearer proxy wrote counts.
 * - By address (`ranges`), the client is the nearest address that is not a trusted proxy's.
 * - Without either, the client is the other end of the connection.
 * @param logger gets one warning about requests that suggest another configuration
 */
export function createClientLookup(proxies: TrustedProxies, logger: Logger): ClientLookup {
  const warnOnce = createWarnOnce(logger);
  const connections = new WeakMap<Socket, Connection>();

  function connectionOf(socket: Socket): Connection {
    const known = connections.get(socket);
    if (known !== undefined) return known;
    const address = plainAddress(socket.remoteAddress ?? 'unknown');
    const peer = { address, proxied: proxies.ranges?.contains(address) ?? false };
    const connection: Connection = { peer, last: undefined };
    connections.set(socket, connection);
    return connection;
  }

  function byNumber(peer: Client, header: string | undefined): Client {
    const entries = lastEntries(header, proxies.hops);
    if (entries.length < proxies.hops) {
      const fields = { address: peer.address, entries: entries.length, hops: proxies.hops };
      warnOnce(fields, 'X-Forwarded-For has fewer entries than TRUSTED_PROXY_HOPS');
      return peer;
    }
    const outermost = entries.findLast((entry) => entry !== undefined);
    return { address: outermost ?? peer.address, proxied: true };
  }

  function byAddress(peer: Client, header: string | undefined): Client {
    if (header === undefined) return peer;
    if (!peer.proxied) {
      warnOnce({ address: peer.address }, 'X-Forwarded-For from an untrusted address ignored');
      return peer;
    }
    let { address } = peer;
    for (const entry of entriesFromEnd(header)) {
      if (entry === undefined) break;
      address = entry;
      if (!proxies.ranges?.contains(entry)) break;
    }
    return { address, proxied: true };
  }

  const find = proxies.hops > 0 ? byNumber : byAddress;
  return ({ headers, socket }) => {
    const connection = connectionOf(socket);
    const header = headers['x-forwarded-for']?.toString() || undefined;
    const { last } = connection;
    if (last !== undefined && last.header === header) return last.client;
    const client = find(connection.peer, header);
    // What a client sends must not stay in memory for as long as its connection is open.
    connection.last =
      header === undefined || header.length <= maxRememberedLength ? { header, client } : undefined;
    return client;
  };
}

/** Finds the addresses of clients, as `createClientLookup` does. */
export function createClientAddress(proxies: TrustedProxies, logger: Logger): ClientAddress {
  const find = createClientLookup(proxies, logger);
  return (request) => find(request).address;
}

function createWarnOnce(logger: Logger): (fields: object, message: string) => void {
  let warned = false;
  return (fields, message) => {
    if (warned) return;
    warned = true;
    logger.warn(fields, message);
  };
}

/** The last entries of a list, nearest first, `count` at most. */
function lastEntries(header: string | undefined, count: number): (string | undefined)[] {
  const entries: (string | undefined)[] = [];
  if (header === undefined) return entries;
  for (const entry of entriesFromEnd(header)) {
    entries.push(entry);
    if (entries.length === count) break;
  }
  return entries;
}

/**
 * The addresses of a list from its end; undefined for an entry that is not an address. Empty entries count: leaving one out that a
 * proxy wrote would move what a client wrote into its place. No more is read than is asked for, as clients may send long lists.
 */
function* entriesFromEnd(header: string): Generator<string | undefined, void> {
  let end = header.length;
  while (end >= 0) {
    const comma = end === 0 ? -1 : header.lastIndexOf(',', end - 1);
    yield addressIn(header.slice(comma + 1, end).trim());
    end = comma;
  }
}

/** The address in an entry, which some proxies write with a port, and IPv6 in brackets. */
function addressIn(entry: string): string | undefined {
  const [, bracketed, dotted] = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(entry) ?? [];
  const address = bracketed ?? dotted ?? entry;
  return isIP(address) === 0 ? undefined : plainAddress(address);
}
