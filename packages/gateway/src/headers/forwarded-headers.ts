import type { IncomingMessage } from 'node:http';
import { isIPv6, type Socket } from 'node:net';
import type { ClientLookup } from '@zerda/chassis/http/client-address';

/** Returns the `Forwarded` and `X-Forwarded-*` headers of the forwarded request: name, value, name, value. */
export type ForwardedHeaders = (request: IncomingMessage) => readonly string[];

/** Returns whether the gateway replaces this request header. @param name in lower case */
export function isForwardedHeader(name: string): boolean {
  return name === 'forwarded' || name.startsWith('x-forwarded-');
}

/** Headers of the last request on a connection, and the values that they depend on, which seldom change. */
interface CachedHeaders {
  readonly client: string;
  readonly host: string | undefined;
  readonly proto: string;
  readonly headers: readonly string[];
}

/**
 * Creates `Forwarded` (RFC 7239) and the older `X-Forwarded-*` headers. `Host` is their only value that the client chooses.
 * They contain one address, the client's, so services that read the first, the last or the n-th address all find it.
 *
 * Values from earlier proxies are removed, as RFC 7239, section 4, permits. The exception is the scheme from a trusted
 * proxy: common proxies always overwrite `X-Forwarded-Proto`. Some forward the client's `Forwarded`, `X-Forwarded-Host`,
 * `-Port` or `-Prefix` unchanged.
 */
export function createForwardedHeaders(findClient: ClientLookup): ForwardedHeaders {
  const cachedBySocket = new WeakMap<Socket, CachedHeaders>();
  return (request) => {
    const { headers, socket } = request;
    const { host } = headers;
    const { address: client, proxied } = findClient(request);
    const proto = schemeOfRequest(request, proxied);
    const cached = cachedBySocket.get(socket);
    if (cached?.client === client && cached.host === host && cached.proto === proto) return cached.headers;
    const built: CachedHeaders = { client, host, proto, headers: buildHeaders(client, host, proto) };
    cachedBySocket.set(socket, built);
    return built.headers;
  };
}

/** Returns whether the client uses HTTPS, as far as the gateway can see. */
export type SecureLookup = (request: IncomingMessage) => boolean;

/** Creates a lookup that reads `X-Forwarded-Proto` from trusted proxies only. */
export function createSecureLookup(findClient: ClientLookup): SecureLookup {
  return (request) => {
    const proxied =
      request.headers['x-forwarded-proto'] !== undefined && findClient(request).proxied === true;
    return schemeOfRequest(request, proxied) === 'https';
  };
}

/** @param proxied whether the request comes from a trusted proxy */
function schemeOfRequest({ headers, socket }: IncomingMessage, proxied: boolean): string {
  const built = proxied ? schemeOf(headers['x-forwarded-proto']) : undefined;
  return built ?? ('encrypted' in socket ? 'https' : 'http');
}

function buildHeaders(client: string, host: string | undefined, proto: string): string[] {
  return [
    ...['x-forwarded-for', client, 'x-forwarded-proto', proto],
    ...['forwarded', forwardedElement(client, host, proto)],
    ...(host === undefined ? [] : ['x-forwarded-host', host]),
  ];
}

/** Returns the scheme from the nearest proxy, the last in the list; undefined when it is neither http nor https. */
function schemeOf(header: string | string[] | undefined): string | undefined {
  const scheme = header?.toString().split(',').at(-1)?.trim().toLowerCase();
  return scheme === 'http' || scheme === 'https' ? scheme : undefined;
}

/** Formats one hop (RFC 7239, section 4). IPv6 addresses and values with non-token characters are quoted. */
function forwardedElement(client: string, host: string | undefined, proto: string): string {
  const node = isIPv6(client) ? `"[${client}]"` : client;
  return `for=${node};${host === undefined ? '' : `host=${quoted(host)};`}proto=${proto}`;
}

function quoted(value: string): string {
  if (/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(value)) return value;
  return `"${value.replaceAll(/["\\]/g, '\\$&')}"`;
}
