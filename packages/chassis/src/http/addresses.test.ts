import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { it } from 'node:test';
import fc from 'fast-check';
import { createAddressRanges, networkOf, normalizeAddress, parseAddressRange } from './addresses.ts';

it('networkOf returns the address for IPv4 and the /64 for IPv6, in every notation', () => {
  for (const [address, network] of [
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::1', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['FE80::2%12', 'fe80:0:0:0::/64'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4::/64'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:c000:0201', '192.0.2.1'],
    ['::ffff:192.0.2.1%eth0', '192.0.2.1'],
    ['64:ff9b::192.0.2.1', '192.0.2.1'],
    ['64:FF9B::c000:201', '192.0.2.1'],
    ['64:ff9b:1::c000:201', '64:ff9b:1:0::/64'],
    ['unknown', 'unknown'],
    ['', ''],
  ] as const) {
    assert.equal(networkOf(address), network, address);
  }
});

it('normalizeAddress returns lower case without zone, and IPv4-mapped addresses as IPv4', () => {
  for (const [address, normalized] of [
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:a00:1', '10.0.0.1'],
    ['2001:DB8::1', '2001:db8::1'],
    ['FE80::1%eth0', 'fe80::1'],
    ['::1', '::1'],
    ['::fffe:10.0.0.1', '::fffe:10.0.0.1'],
    ['unknown', 'unknown'],
  ] as const) {
    assert.equal(normalizeAddress(address), normalized, address);
  }
});

it('networkOf returns the same network only for addresses of the same /64', () => {
  const group = fc.integer({ min: 0, max: 0xffff });
  const half = fc.tuple(group, group, group, group);
  const text = (groups: number[]) => groups.map((value) => value.toString(16)).join(':');
  fc.assert(
    fc.property(half, half, half, half, (network, host, otherNetwork, otherHost) => {
      fc.pre(network[0] !== 0 && network[0] !== 0x64 && text(network) !== text(otherNetwork));
      const networkOfGroups = (left: number[], right: number[]) => networkOf(text([...left, ...right]));
      assert.equal(networkOfGroups(network, host), networkOfGroups(network, otherHost));
      assert.notEqual(networkOfGroups(network, host), networkOfGroups(otherNetwork, host));
    }),
  );
});

it('networkOf and normalizeAddress accept any text', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()), (text) => {
      assert.equal(typeof networkOf(text), 'string');
      assert.equal(isIP(normalizeAddress(text)) === 0, isIP(text) === 0);
    }),
  );
});

it('ranges contain an address in every notation', () => {
  const ranges = createAddressRanges(
    ['10.0.0.0/8', '192.0.2.7', '::ffff:172.16.0.0/108', 'fd00::/8'].map((text) => {
      const range = parseAddressRange(text);
      assert.ok(range, text);
      return range;
    }),
  );
  for (const address of ['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.7', '172.31.0.1', 'fd12::1', 'FD12::1%eth0'])
    assert.equal(ranges.contains(address), true, address);
  for (const address of ['11.0.0.1', '192.0.2.8', '172.32.0.1', 'fe80::1', '::1', 'unknown', ''])
    assert.equal(ranges.contains(address), false, address);
});

it('parseAddressRange returns undefined for invalid text', () => {
  for (const text of [
    '',
    'proxy',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '::/129',
    '10.0.0.0/-1',
    '10.0.0',
  ])
    assert.equal(parseAddressRange(text), undefined, text);
});
