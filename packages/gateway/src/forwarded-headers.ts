import type { IncomingMessage } from 'node:http';
import { isIPv6, type Socket } from 'node:net';
import type { ClientLookup } from '@zerda/chassis/http/client-address';

/** The client of a request and what it asked for, as headers of the forwarded request: name, value, name, value. */
export type ForwardedHeaders = (request: IncomingMessage) => readonly string[];

/** Whether a header of the request, its name in lower case, is replaced by those. */
export function isForwardedHeader(name: string): boolean {
  return name === 'forwarded' || name.startsWith('x-forwarded-');
}

/** Headers of the last request on a connection, and what they were made of: all three seldom change on it. */
interface Written {
  readonly client: string;
  readonly host: string | undefined;
  readonly proto: string;
  readonly headers: readonly string[];
}

/**
 * Writes `Forwarded` (RFC 7239) and the `X-Forwarded-*` headers that came before it, so that they hold nothing of a client's choosing
 * but its `Host`. They name the client alone: a service finds it whether it reads the first address, the last one or counts hops.
 * What proxies wrote before is removed, as RFC 7239, section 4, permits, except the scheme that a trusted proxy wrote: every common
 * proxy overwrites that header, but some pass on `Forwarded`, `X-Forwarded-Host`, `-Port` or `-Prefix` as the client wrote them.
 */
export function createForwardedHeaders(findClient: ClientLookup): ForwardedHeaders {
  const writtenOn = new WeakMap<Socket, Written>();
  return (request) => {
    const { headers, socket } = request;
    const { host } = headers;
    const { address: client, proxied } = findClient(request);
    const proto = schemeOfRequest(request, proxied);
    const last = writtenOn.get(socket);
    if (last?.client === client && last.host === host && last.proto === proto) return last.headers;
    const written: Written = { client, host, proto, headers: write(client, host, proto) };
    writtenOn.set(socket, written);
    return written.headers;
  };
}

/** Whether a client asks over HTTPS, as far as is known. */
export type SecureLookup = (request: IncomingMessage) => boolean;

/** Creates a lookup that believes trusted proxies only. */
export function createSecureLookup(findClient: ClientLookup): SecureLookup {
  return (request) => {
    const proxied =
      request.headers['x-forwarded-proto'] !== undefined && findClient(request).proxied === true;
    return schemeOfRequest(request, proxied) === 'https';
  };
}

/** @param proxied whether a trusted proxy has made the request */
function schemeOfRequest({ headers, socket }: IncomingMessage, proxied: boolean): string {
  const written = proxied ? schemeOf(headers['x-forwarded-proto']) : undefined;
  return written ?? ('encrypted' in socket ? 'https' : 'http');
}

function write(client: string, host: string | undefined, proto: string): string[] {
  return [
    ...['x-forwarded-for', client, 'x-forwarded-proto', proto],
    ...['forwarded', element(client, host, proto)],
    ...(host === undefined ? [] : ['x-forwarded-host', host]),
  ];
}

/** The scheme that the nearest proxy wrote, the last one of a list; undefined when it is not one of HTTP's. */
function schemeOf(header: string | string[] | undefined): string | undefined {
  const scheme = header?.toString().split(',').at(-1)?.trim().toLowerCase();
  return scheme === 'http' || scheme === 'https' ? scheme : undefined;
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
