import type { IncomingMessage } from 'node:http';
import { type BlockList, isIPv6, type Socket } from 'node:net';

/** Who asked, for what and how, as headers that a request goes on with: name, value, name, value. */
export type ForwardedHeaders = (request: IncomingMessage) => string[];

interface Peer {
  readonly address: string;
  /** What it says of hops before it is believed. */
  readonly believed: boolean;
  /** The host it asked for last, and its hop with that: both seldom change on a connection. */
  host: string | undefined;
  hop: string | undefined;
}

/** Whether a header of the request, its name in lower case, is replaced by those. */
export function isForwardedHeader(name: string): boolean {
  return name === 'forwarded' || name.startsWith('x-forwarded-');
}

const written: ReadonlySet<string> = new Set(['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto']);

/**
 * Writes `Forwarded` (RFC 7239) and the `X-Forwarded-*` headers that came before it. What a trusted proxy says of
 * hops before it is kept; what anybody else says is not passed on.
 */
export function createForwardedHeaders(trusted?: BlockList): ForwardedHeaders {
  /** What is known of the other end of a connection, which does not change with its requests. */
  const peers = new WeakMap<Socket, Peer>();

  function peerOf(socket: Socket): Peer {
    const known = peers.get(socket);
    if (known !== undefined) return known;
    const address = (socket.remoteAddress ?? 'unknown').replace(/^::ffff:/, '');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    const believed = trusted?.check(address, family) ?? false;
    const peer: Peer = { address, believed, host: undefined, hop: undefined };
    peers.set(socket, peer);
    return peer;
  }

  return (request) => {
    const { headers, socket } = request;
    const peer = peerOf(socket);
    const { address: client, believed } = peer;
    const given = (name: string): string | undefined => (believed ? listOf(headers[name]) : undefined);
    const host = headers.host;
    const proto = 'encrypted' in socket ? 'https' : 'http';
    if (peer.hop === undefined || peer.host !== host) {
      peer.host = host;
      peer.hop = element(client, host, proto);
    }
    const passed = [
      'x-forwarded-for',
      appended(given('x-forwarded-for'), client),
      'x-forwarded-proto',
      given('x-forwarded-proto') ?? proto,
      'forwarded',
      appended(given('forwarded'), peer.hop),
    ];
    const forwardedHost = given('x-forwarded-host') ?? host;
    if (forwardedHost !== undefined) passed.push('x-forwarded-host', forwardedHost);
    if (believed) passed.push(...further(headers));
    return passed;
  };
}

/** What a proxy says beside: the port that was asked, a prefix it took off, and so on. */
function further(headers: IncomingMessage['headers']): string[] {
  return Object.entries(headers).flatMap(([name, value]) =>
    name.startsWith('x-forwarded-') && !written.has(name) ? [name, listOf(value) ?? ''] : [],
  );
}

/** One hop by RFC 7239, section 4: addresses of IPv6 and values with other than token characters are quoted. */
function element(client: string, host: string | undefined, proto: string): string {
  const node = isIPv6(client) ? `"[${client}]"` : client;
  return `for=${node};${host === undefined ? '' : `host=${quoted(host)};`}proto=${proto}`;
}

function quoted(value: string): string {
  if (/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(value)) return value;
  return `"${value.replaceAll(/["\\]/g, '\\$&')}"`;
}

function listOf(header: string | string[] | undefined): string | undefined {
  const text = Array.isArray(header) ? header.join(', ') : header;
  return text === '' ? undefined : text;
}

function appended(list: string | undefined, entry: string): string {
  return list === undefined ? entry : `${list}, ${entry}`;
}
