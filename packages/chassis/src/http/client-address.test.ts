import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { BlockList } from 'node:net';
import { it } from 'node:test';
import { createClientAddress } from './client-address.ts';

const proxies = new BlockList();
proxies.addSubnet('10.0.0.0', 8, 'ipv4');
proxies.addSubnet('fd00::', 8, 'ipv6');

function address(peer: string, forwarded?: string, trusted: BlockList | undefined = proxies): string {
  const request = { socket: { remoteAddress: peer }, headers: { 'x-forwarded-for': forwarded } };
  return createClientAddress(trusted)(request as unknown as IncomingMessage);
}

it('the client is the nearest address that is no trusted proxy, whatever it says of others', () => {
  assert.equal(address('203.0.113.9'), '203.0.113.9');
  assert.equal(address('203.0.113.9', '198.51.100.1'), '203.0.113.9', 'a stranger is not believed');
  assert.equal(address('10.0.0.1', '198.51.100.1'), '198.51.100.1');
  assert.equal(address('::ffff:10.0.0.1', '198.51.100.1'), '198.51.100.1');
  assert.equal(address('10.0.0.1', '1.1.1.1, 198.51.100.1, 10.0.0.2'), '198.51.100.1');
  assert.equal(address('fd00::1', '2001:db8::1'), '2001:db8::1');
  assert.equal(address('10.0.0.1', 'nonsense'), '10.0.0.1');
  assert.equal(address('10.0.0.1', ''), '10.0.0.1');
  assert.equal(address('10.0.0.1', '198.51.100.1', new BlockList()), '10.0.0.1');
});
