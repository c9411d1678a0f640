import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { BlockList } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createCallerAddress, networkOf } from './caller-address.ts';
import { createPeers } from './peers.ts';

const trusted = new BlockList();
trusted.addSubnet('10.0.0.0', 8);
trusted.addSubnet('fd00::', 8, 'ipv6');

const addressOf = createCallerAddress(createPeers(trusted), trusted);

function from(remoteAddress: string, forwardedFor?: string): IncomingMessage {
  const headers = {
    ...(forwardedFor !== undefined && { 'x-forwarded-for': forwardedFor }),
    forwarded: 'for=9.9.9.9',
  };
  return { headers, socket: { remoteAddress } } as unknown as IncomingMessage;
}

describe('address of the client', () => {
  it('is the last one of the way that no trusted proxy has', () => {
    for (const [peer, forwardedFor, client] of [
      ['192.0.2.1', undefined, '192.0.2.1'],
      ['192.0.2.1', '203.0.113.9', '192.0.2.1'],
      ['10.0.0.1', undefined, '10.0.0.1'],
      ['::ffff:10.0.0.1', '203.0.113.9', '203.0.113.9'],
      ['10.0.0.1', '198.51.100.1, 203.0.113.9', '203.0.113.9'],
      ['10.0.0.1', '203.0.113.9, 10.0.0.7, fd00::2', '203.0.113.9'],
      ['10.0.0.1', '10.0.0.8, 10.0.0.9', '10.0.0.8'],
      ['fd00::1', '2001:db8::7', '2001:db8::7'],
      ['10.0.0.1', '203.0.113.9:4711', '203.0.113.9'],
      ['10.0.0.1', '[2001:db8::7]:443', '2001:db8::7'],
      ['10.0.0.1', '203.0.113.9, unknown', '10.0.0.1'],
      ['10.0.0.1', '203.0.113.9, ', '10.0.0.1'],
    ] as const) {
      assert.equal(addressOf(from(peer, forwardedFor)), client, `${peer} ${forwardedFor}`);
    }
  });

  it('is never of the choosing of a client, whatever it writes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()), (lie) => {
        assert.equal(addressOf(from('192.0.2.1', lie)), '192.0.2.1');
        assert.equal(addressOf(from('10.0.0.1', `${lie}, 203.0.113.9`)), '203.0.113.9');
      }),
    );
  });
});

describe('network of an address', () => {
  it('is the address itself, and the /64 of IPv6 however it is written', () => {
    for (const [address, network] of [
      ['192.0.2.1', '192.0.2.1'],
      ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
      ['2001:0DB8:0001:0002::1', '2001:db8:1:2::/64'],
      ['2001:db8::1', '2001:db8:0:0::/64'],
      ['::1', '0:0:0:0::/64'],
      ['fe80::1%eth0', 'fe80:0:0:0::/64'],
      ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4::/64'],
    ] as const) {
      assert.equal(networkOf(address), network);
    }
  });
});
