import assert from 'node:assert/strict';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { createClientLookup, type TrustedProxies } from '@zerda/chassis/http/client-address';
import { silentLogger } from '@zerda/chassis/testing/observed';
import fc from 'fast-check';
import { proxiesAt } from '../../testing/gateway.ts';
import { createForwardedHeaders } from './forwarded-headers.ts';

const noProxies: TrustedProxies = { hops: 0 };

function connectionFrom(remoteAddress: string): Socket {
  return Object.defineProperty(new Socket(), 'remoteAddress', { value: remoteAddress });
}

function requestOn(socket: Socket, headers: IncomingMessage['headers']): IncomingMessage {
  const request = new IncomingMessage(socket);
  Object.assign(request.headers, headers);
  return request;
}

/** Returns the forwarded headers of one request from an address. */
function forwarded(
  proxies: TrustedProxies,
  remoteAddress: string,
  headers: IncomingMessage['headers'],
): Record<string, string> {
  const createHeaders = createForwardedHeaders(createClientLookup(proxies, silentLogger()));
  return asObject(createHeaders(requestOn(connectionFrom(remoteAddress), headers)));
}

function asObject(pairs: readonly string[]): Record<string, string> {
  const entries: [string, string][] = [];
  for (let index = 0; index < pairs.length; index += 2)
    entries.push([pairs[index] ?? '', pairs[index + 1] ?? '']);
  assert.equal(new Set(entries.map(([name]) => name)).size, entries.length, 'each header once');
  return Object.fromEntries(entries);
}

const untrustedHeaders = {
  host: 'shop.test:8000',
  'x-forwarded-for': '198.51.100.1, 10.1.2.3',
  'x-forwarded-host': 'evil.test',
  'x-forwarded-proto': 'https',
  'x-forwarded-port': '443',
  'x-forwarded-prefix': '/evil',
  forwarded: 'for=10.1.2.3;proto=https',
};

describe('forwarded headers', () => {
  it('contain no values of an untrusted client except its Host', () => {
    for (const [proxies, peer] of [
      [noProxies, '::ffff:192.0.2.7'],
      [proxiesAt('10.0.0.0/16'), '192.0.2.7'],
      [{ hops: 3 }, '192.0.2.7'],
    ] as const) {
      assert.deepEqual(forwarded(proxies, peer, untrustedHeaders), {
        'x-forwarded-for': '192.0.2.7',
        'x-forwarded-host': 'shop.test:8000',
        'x-forwarded-proto': 'http',
        forwarded: 'for=192.0.2.7;host="shop.test:8000";proto=http',
      });
    }
  });

  it('contain the client address and scheme from trusted proxies, and no headers that proxies may forward unchanged', () => {
    for (const proxies of [proxiesAt('192.0.2.0/24'), { hops: 1 }]) {
      assert.deepEqual(forwarded(proxies, '192.0.2.7', untrustedHeaders), {
        'x-forwarded-for': '10.1.2.3',
        'x-forwarded-host': 'shop.test:8000',
        'x-forwarded-proto': 'https',
        forwarded: 'for=10.1.2.3;host="shop.test:8000";proto=https',
      });
    }
  });

  it('use the scheme from the nearest proxy, or that of the connection when it is neither http nor https', () => {
    for (const [sentScheme, proto] of [
      ['https', 'https'],
      ['HTTPS', 'https'],
      ['https, http', 'http'],
      ['http, https', 'https'],
      ['wss', 'http'],
      ['https;evil', 'http'],
      ['', 'http'],
    ]) {
      const headers = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': sentScheme };
      assert.equal(forwarded({ hops: 1 }, '192.0.2.7', headers)['x-forwarded-proto'], proto, sentScheme);
    }
  });

  it('are correct for each request when one connection carries requests of several clients', () => {
    const createHeaders = createForwardedHeaders(createClientLookup({ hops: 1 }, silentLogger()));
    const socket = connectionFrom('10.0.0.1');
    for (const [client, host, proto] of [
      ['203.0.113.1', 'a.test', 'https'],
      ['203.0.113.1', 'a.test', 'https'],
      ['203.0.113.2', 'a.test', 'https'],
      ['203.0.113.2', 'b.test', 'https'],
      ['203.0.113.2', 'b.test', 'http'],
    ] as const) {
      const headers = { host, 'x-forwarded-for': client, 'x-forwarded-proto': proto };
      assert.deepEqual(asObject(createHeaders(requestOn(socket, headers))), {
        'x-forwarded-for': client,
        'x-forwarded-host': host,
        'x-forwarded-proto': proto,
        forwarded: `for=${client};host=${host};proto=${proto}`,
      });
    }
  });

  it('format IPv6 addresses as in RFC 7239', () => {
    assert.equal(forwarded(noProxies, '2001:db8::1', {}).forwarded, 'for="[2001:db8::1]";proto=http');
    assert.equal(forwarded(noProxies, 'fe80::1%eth0', {}).forwarded, 'for="[fe80::1]";proto=http');
  });

  it('never contain client values or line breaks, for any headers', () => {
    const value = fc.string({ unit: 'grapheme-ascii', maxLength: 30 });
    fc.assert(
      fc.property(value, value, value, value, fc.ipV4(), (host, list, proto, element, address) => {
        const sentHeaders = {
          host,
          'x-forwarded-host': `${host}secret`,
          'x-forwarded-prefix': `${host}secret`,
          forwarded: `${element}secret`,
        };
        const direct = {
          ...sentHeaders,
          'x-forwarded-for': `${list}secret`,
          'x-forwarded-proto': `${proto}secret`,
        };
        const proxied = {
          ...sentHeaders,
          'x-forwarded-for': `${list}secret, ${address}`,
          'x-forwarded-proto': 'https',
        };
        for (const written of [
          forwarded(noProxies, address, direct),
          forwarded({ hops: 1 }, '10.0.0.1', proxied),
          forwarded(proxiesAt('10.0.0.1'), '10.0.0.1', proxied),
        ]) {
          for (const text of Object.values(written))
            assert.doesNotMatch(text.replaceAll(host, ''), /secret|[\r\n]/);
          assert.equal(written['x-forwarded-for'], address);
        }
      }),
    );
  });
});
