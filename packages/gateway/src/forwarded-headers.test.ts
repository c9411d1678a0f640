import assert from 'node:assert/strict';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { createClientLookup, type TrustedProxies } from '@zerda/chassis/http/client-address';
import { silentLogger } from '@zerda/chassis/testing';
import fc from 'fast-check';
import { createForwardedHeaders } from './forwarded-headers.ts';
import { proxiesAt } from './testing.ts';

const none: TrustedProxies = { hops: 0 };

function connectionFrom(remoteAddress: string): Socket {
  return Object.defineProperty(new Socket(), 'remoteAddress', { value: remoteAddress });
}

function requestOn(socket: Socket, headers: IncomingMessage['headers']): IncomingMessage {
  const request = new IncomingMessage(socket);
  Object.assign(request.headers, headers);
  return request;
}

/** Headers that one request from an address goes on with. */
function forwarded(
  proxies: TrustedProxies,
  remoteAddress: string,
  headers: IncomingMessage['headers'],
): Record<string, string> {
  const write = createForwardedHeaders(createClientLookup(proxies, silentLogger()));
  return asObject(write(requestOn(connectionFrom(remoteAddress), headers)));
}

function asObject(pairs: readonly string[]): Record<string, string> {
  const entries: [string, string][] = [];
  for (let index = 0; index < pairs.length; index += 2)
    entries.push([pairs[index] ?? '', pairs[index + 1] ?? '']);
  assert.equal(new Set(entries.map(([name]) => name)).size, entries.length, 'each header once');
  return Object.fromEntries(entries);
}

const lies = {
  host: 'shop.test:8000',
  'x-forwarded-for': '198.51.100.1, 10.1.2.3',
  'x-forwarded-host': 'evil.test',
  'x-forwarded-proto': 'https',
  'x-forwarded-port': '443',
  'x-forwarded-prefix': '/evil',
  forwarded: 'for=10.1.2.3;proto=https',
};

describe('forwarded headers', () => {
  it('hold nothing that an untrusted client wrote but its Host', () => {
    for (const [proxies, peer] of [
      [none, '::ffff:192.0.2.7'],
      [proxiesAt('10.0.0.0/16'), '192.0.2.7'],
      [{ hops: 3 }, '192.0.2.7'],
    ] as const) {
      assert.deepEqual(forwarded(proxies, peer, lies), {
        'x-forwarded-for': '192.0.2.7',
        'x-forwarded-host': 'shop.test:8000',
        'x-forwarded-proto': 'http',
        forwarded: 'for=192.0.2.7;host="shop.test:8000";proto=http',
      });
    }
  });

  it('hold the client and the scheme that trusted proxies wrote, and nothing that proxies may pass on', () => {
    for (const proxies of [proxiesAt('192.0.2.0/24'), { hops: 1 }]) {
      assert.deepEqual(forwarded(proxies, '192.0.2.7', lies), {
        'x-forwarded-for': '10.1.2.3',
        'x-forwarded-host': 'shop.test:8000',
        'x-forwarded-proto': 'https',
        forwarded: 'for=10.1.2.3;host="shop.test:8000";proto=https',
      });
    }
  });

  it('take the scheme of the nearest proxy, and that of the connection where it is not one of HTTP', () => {
    for (const [given, proto] of [
      ['https', 'https'],
      ['HTTPS', 'https'],
      ['https, http', 'http'],
      ['http, https', 'https'],
      ['wss', 'http'],
      ['https;evil', 'http'],
      ['', 'http'],
    ]) {
      const headers = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': given };
      assert.equal(forwarded({ hops: 1 }, '192.0.2.7', headers)['x-forwarded-proto'], proto, given);
    }
  });

  it('are those of each request where a connection has requests of several clients', () => {
    const write = createForwardedHeaders(createClientLookup({ hops: 1 }, silentLogger()));
    const socket = connectionFrom('10.0.0.1');
    for (const [client, host, proto] of [
      ['203.0.113.1', 'a.test', 'https'],
      ['203.0.113.1', 'a.test', 'https'],
      ['203.0.113.2', 'a.test', 'https'],
      ['203.0.113.2', 'b.test', 'https'],
      ['203.0.113.2', 'b.test', 'http'],
    ] as const) {
      const headers = { host, 'x-forwarded-for': client, 'x-forwarded-proto': proto };
      assert.deepEqual(asObject(write(requestOn(socket, headers))), {
        'x-forwarded-for': client,
        'x-forwarded-host': host,
        'x-forwarded-proto': proto,
        forwarded: `for=${client};host=${host};proto=${proto}`,
      });
    }
  });

  it('write addresses of IPv6 as RFC 7239 has them', () => {
    assert.equal(forwarded(none, '2001:db8::1', {}).forwarded, 'for="[2001:db8::1]";proto=http');
    assert.equal(forwarded(none, 'fe80::1%eth0', {}).forwarded, 'for="[fe80::1]";proto=http');
  });

  it('never hold what a client wrote, and never break a line, whatever the headers hold', () => {
    const value = fc.string({ unit: 'grapheme-ascii', maxLength: 30 });
    fc.assert(
      fc.property(value, value, value, value, fc.ipV4(), (host, list, proto, element, address) => {
        const given = {
          host,
          'x-forwarded-host': `${host}secret`,
          'x-forwarded-prefix': `${host}secret`,
          forwarded: `${element}secret`,
        };
        const direct = {
          ...given,
          'x-forwarded-for': `${list}secret`,
          'x-forwarded-proto': `${proto}secret`,
        };
        const proxied = {
          ...given,
          'x-forwarded-for': `${list}secret, ${address}`,
          'x-forwarded-proto': 'https',
        };
        for (const written of [
          forwarded(none, address, direct),
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
