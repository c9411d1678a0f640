import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { BlockList } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createForwardedHeaders } from './forwarded-headers.ts';
import { createPeers } from './peers.ts';

function from(remoteAddress: string, headers: IncomingMessage['headers']): IncomingMessage {
  return { headers, socket: { remoteAddress } } as unknown as IncomingMessage;
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
  'x-forwarded-for': '10.1.2.3',
  'x-forwarded-host': 'evil.test',
  'x-forwarded-proto': 'https',
  'x-forwarded-port': '443',
  forwarded: 'for=10.1.2.3;proto=https',
};

describe('forwarded headers', () => {
  it('say who asks, and nothing that somebody who is not trusted says of it', () => {
    assert.deepEqual(asObject(createForwardedHeaders(createPeers())(from('::ffff:192.0.2.7', lies))), {
      'x-forwarded-for': '192.0.2.7',
      'x-forwarded-host': 'shop.test:8000',
      'x-forwarded-proto': 'http',
      forwarded: 'for=192.0.2.7;host="shop.test:8000";proto=http',
    });
  });

  it('keep what a trusted proxy says of the hops before it', () => {
    const trusted = new BlockList();
    trusted.addSubnet('192.0.2.0', 24);
    const headers = createForwardedHeaders(createPeers(trusted));
    assert.deepEqual(asObject(headers(from('192.0.2.7', lies))), {
      'x-forwarded-for': '10.1.2.3, 192.0.2.7',
      'x-forwarded-host': 'evil.test',
      'x-forwarded-proto': 'https',
      'x-forwarded-port': '443',
      forwarded: 'for=10.1.2.3;proto=https, for=192.0.2.7;host="shop.test:8000";proto=http',
    });
    assert.equal(asObject(headers(from('198.51.100.1', lies)))['x-forwarded-for'], '198.51.100.1');
  });

  it('write addresses of IPv6 as RFC 7239 has them', () => {
    const { forwarded } = asObject(createForwardedHeaders(createPeers())(from('2001:db8::1', {})));
    assert.equal(forwarded, 'for="[2001:db8::1]";proto=http');
  });

  it('let nothing of a stranger through, and never break a line, whatever the headers hold', () => {
    const value = fc.string({ unit: 'grapheme-ascii', maxLength: 30 });
    fc.assert(
      fc.property(value, value, value, value, fc.ipV4(), (host, list, proto, forwarded, address) => {
        const given = {
          host,
          'x-forwarded-for': `${list}secret`,
          'x-forwarded-host': `${host}secret`,
          'x-forwarded-proto': `${proto}secret`,
          forwarded: `${forwarded}secret`,
        };
        const pairs = createForwardedHeaders(createPeers())(from(address, given));
        for (const text of pairs) assert.doesNotMatch(text.replaceAll(host, ''), /secret|[\r\n]/);
        assert.equal(asObject(pairs)['x-forwarded-for'], address);
      }),
    );
  });
});
