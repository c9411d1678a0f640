import type { IncomingMessage } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { LogFields } from '../logging/catalog.ts';
import type { Logger } from '../logging/logger.ts';
import { type AddressRanges, normalizeAddress } from './addresses.ts';

/** The trusted proxies in front of a service. At most one of the two members is set. */
export interface TrustedProxies {
  /** Number of proxies that append an address to `X-Forwarded-For`; 0 if proxies are not trusted by number. */
  readonly hops: number;
  /** Addresses of the proxies. */
  readonly ranges?: AddressRanges | undefined;
}

/** The client of a request. */
export interface Client {
  /** Address; `unknown` if the connection closed before the address was read. */
  readonly address: string;
  /** Whether the request came through the trusted proxies, so that the headers they set can be trusted. */
  readonly proxied: boolean;
}

/** Cached state of a connection. */
interface Connection {
  /** Remote end of the connection; `proxied` is true for the address of a trusted proxy. */
  readonly peer: Client;
  /** Client of the last request. It is looked up several times per request and seldom changes. */
  last: { readonly header: string | undefined; readonly client: Client } | undefined;
}

/** Maximum length of a cached `X-Forwarded-For` value in characters: enough for a few proxies. */
const maxCachedLength = 200;

/** Finds the client of a request. */
export type ClientLookup = (request: IncomingMessage) => Client;

/** Returns the address of the client of a request. */
export type ClientAddress = (request: IncomingMessage) => string;

/**
 * Creates a function that finds the client of a request from the connection and `X-Forwarded-For`. It reads no other header, because
 * common proxies forward `Forwarded` and `X-Real-IP` as the client sent them. It reads the header from the end, where proxies append,
 * and only the entries of trusted proxies:
 * - With `hops`, the client is the entry of the outermost proxy, as with Envoy's `xff_num_trusted_hops` and Express's numeric
 *   `trust proxy`. If there are fewer entries than hops, the request bypassed a proxy, and the client is the remote end of the
 *   connection, as with Envoy. If that entry is not an address, the entry of the next inner proxy is used.
 * - With `ranges`, the client is the last address that is not in the ranges.
 * - Otherwise the client is the remote end of the connection.
 * @param logger receives one warning if requests indicate a wrong configuration
 */
export function createClientLookup(proxies: TrustedProxies, logger: Logger): ClientLookup {
  const warnOnce = createWarnOnce(logger);
  const connections = new WeakMap<Socket, Connection>();

  function connectionOf(socket: Socket): Connection {
    const known = connections.get(socket);
    if (known !== undefined) return known;
    const address = normalizeAddress(socket.remoteAddress ?? 'unknown');
    const peer = { address, proxied: proxies.ranges?.contains(address) ?? false };
    const connection: Connection = { peer, last: undefined };
    connections.set(socket, connection);
    return connection;
  }

  function clientByHops(peer: Client, header: string | undefined): Client {
    const entries = lastEntries(header, proxies.hops);
    if (entries.length < proxies.hops) {
      const fields = { address: peer.address, entries: entries.length, hops: proxies.hops };
      warnOnce(fields, 'X-Forwarded-For has fewer entries than TRUSTED_PROXY_HOPS');
      return peer;
    }
    const outermost = entries.findLast((entry) => entry !== undefined);
    return { address: outermost ?? peer.address, proxied: true };
  }

  function clientByRanges(peer: Client, header: string | undefined): Client {
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

  const findClient = proxies.hops > 0 ? clientByHops : clientByRanges;
  return ({ headers, socket }) => {
    const connection = connectionOf(socket);
    const header = headers['x-forwarded-for']?.toString() || undefined;
    const { last } = connection;
    if (last !== undefined && last.header === header) return last.client;
    const client = findClient(connection.peer, header);
    // Long headers are not cached, so that clients cannot fill the memory.
    connection.last =
      header === undefined || header.length <= maxCachedLength ? { header, client } : undefined;
    return client;
  };
}

/** Creates a function that returns the client address of a request, as `createClientLookup` finds it. */
export function createClientAddress(proxies: TrustedProxies, logger: Logger): ClientAddress {
  const findClient = createClientLookup(proxies, logger);
  return (request) => findClient(request).address;
}

function createWarnOnce(logger: Logger): (fields: LogFields, message: string) => void {
  let warned = false;
  return (fields, message) => {
    if (warned) return;
    warned = true;
    logger.warn(fields, message);
  };
}

/** Returns up to `count` entries from the end of the header, last one first. */
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
 * Yields the addresses of the header from the end; undefined for an entry that is not an address. Empty entries count: skipping one of a
 * proxy would put an entry of the client in its place. The header is parsed lazily, because clients may send long ones.
 */
function* entriesFromEnd(header: string): Generator<string | undefined, void> {
  let end = header.length;
  while (end >= 0) {
    const comma = end === 0 ? -1 : header.lastIndexOf(',', end - 1);
    yield parseEntry(header.slice(comma + 1, end).trim());
    end = comma;
  }
}

/** Parses an entry. Some proxies append a port and write IPv6 in brackets. */
function parseEntry(entry: string): string | undefined {
  const [, bracketed, dotted] = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(entry) ?? [];
  const address = bracketed ?? dotted ?? entry;
  return isIP(address) === 0 ? undefined : normalizeAddress(address);
}
