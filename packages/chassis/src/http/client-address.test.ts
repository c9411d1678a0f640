import assert from 'node:assert/strict';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { recordingLogger, silentLogger } from '../../testing/observed.ts';
import { addressRanges } from '../config/values.ts';
import { createClientLookup, type TrustedProxies } from './client-address.ts';

function requestOf(peer: string | undefined, headers: IncomingMessage['headers']): IncomingMessage {
  const socket = Object.defineProperty(new Socket(), 'remoteAddress', { value: peer });
  const request = new IncomingMessage(socket);
  Object.assign(request.headers, headers);
  return request;
}

function clientOf(proxies: TrustedProxies, peer: string | undefined, forwardedFor?: string) {
  const headers = forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor };
  return createClientLookup(proxies, silentLogger())(requestOf(peer, headers));
}

function hops(count: number): TrustedProxies {
  return { hops: count };
}

function byRanges(ranges: string): TrustedProxies {
  return { hops: 0, ranges: addressRanges().parse(ranges) };
}

describe('client behind a known number of proxies', () => {
  it('is the entry of the outermost proxy', () => {
    for (const [count, forwardedFor, client] of [
      [1, '203.0.113.9', '203.0.113.9'],
      [1, '198.51.100.1, 10.1.2.3', '10.1.2.3'],
      [2, '198.51.100.1, 203.0.113.9, 10.0.0.7', '203.0.113.9'],
      [3, '203.0.113.9,10.0.0.8 ,\t10.0.0.7', '203.0.113.9'],
      [1, '203.0.113.9:4711', '203.0.113.9'],
      [1, '[2001:db8::7]:443', '2001:db8::7'],
      [1, '[2001:DB8::7]', '2001:db8::7'],
      [1, '2001:db8::7', '2001:db8::7'],
      [1, '::ffff:203.0.113.9', '203.0.113.9'],
      [1, 'fe80::1%eth0', 'fe80::1'],
      [2, '198.51.100.1, , 203.0.113.9, 10.0.0.7', '203.0.113.9'],
    ] as const) {
      assert.deepEqual(
        clientOf(hops(count), '10.0.0.1', forwardedFor),
        { address: client, proxied: true },
        `${count} ${forwardedFor}`,
      );
    }
  });

  it('is the entry of the next inner proxy if an entry is not an address', () => {
    for (const [forwardedFor, client] of [
      ['198.51.100.1, unknown, 10.0.0.7', '10.0.0.7'],
      ['198.51.100.1, , 10.0.0.7', '10.0.0.7'],
      ['198.51.100.1, 203.0.113.9, _hidden', '203.0.113.9'],
      ['198.51.100.1, unknown, ', '10.0.0.1'],
      ['198.51.100.1, 203.0.113.999, 1.2.3', '10.0.0.1'],
    ] as const) {
      assert.deepEqual(
        clientOf(hops(2), '10.0.0.1', forwardedFor),
        { address: client, proxied: true },
        forwardedFor,
      );
    }
  });

  it('is the remote end of the connection if the request bypassed a proxy', () => {
    for (const [count, forwardedFor] of [
      [1, undefined],
      [1, ''],
      [2, '203.0.113.9'],
      [3, '198.51.100.1, 203.0.113.9'],
    ] as const) {
      assert.deepEqual(clientOf(hops(count), '::ffff:192.0.2.1', forwardedFor), {
        address: '192.0.2.1',
        proxied: false,
      });
    }
  });

  it('logs one warning if requests bypassed a proxy', () => {
    const { logger, lines } = recordingLogger();
    const findClient = createClientLookup(hops(2), logger);
    for (const forwardedFor of ['203.0.113.9, 10.0.0.7', '203.0.113.9', '203.0.113.8'])
      findClient(requestOf('10.0.0.1', { 'x-forwarded-for': forwardedFor }));
    assert.deepEqual(
      lines.map(({ level, msg, address, entries, hops }) => ({ level, msg, address, entries, hops })),
      [
        {
          level: 'warn',
          msg: 'X-Forwarded-For has fewer entries than TRUSTED_PROXY_HOPS',
          address: '10.0.0.1',
          entries: 1,
          hops: 2,
        },
      ],
    );
  });
});

describe('client behind proxies with known addresses', () => {
  it('is the last address that is not a trusted proxy', () => {
    for (const [peer, forwardedFor, client] of [
      ['10.0.0.1', undefined, '10.0.0.1'],
      ['10.0.0.1', '', '10.0.0.1'],
      ['10.0.0.1', '198.51.100.1', '198.51.100.1'],
      ['::ffff:10.0.0.1', '198.51.100.1', '198.51.100.1'],
      ['::ffff:a00:1', '198.51.100.1', '198.51.100.1'],
      ['10.0.0.1', '198.51.100.1, 203.0.113.9', '203.0.113.9'],
      ['10.0.0.1', '203.0.113.9, 10.0.0.7, fd00::2', '203.0.113.9'],
      ['10.0.0.1', '203.0.113.9, ::ffff:10.0.0.7, [fd00::2]:80', '203.0.113.9'],
      ['10.0.0.1', '10.0.0.8, 10.0.0.9', '10.0.0.8'],
      ['fd00::1', '2001:db8::7', '2001:db8::7'],
      ['10.0.0.1', '203.0.113.9, unknown', '10.0.0.1'],
      ['10.0.0.1', '203.0.113.9, ', '10.0.0.1'],
      ['10.0.0.1', '203.0.113.9, unknown, 10.0.0.7', '10.0.0.7'],
    ] as const) {
      assert.deepEqual(
        clientOf(byRanges('10.0.0.0/8,fd00::/8'), peer, forwardedFor),
        { address: client, proxied: true },
        `${peer} ${forwardedFor}`,
      );
    }
  });

  it('is the remote end of the connection if that is not a trusted proxy, with one warning', () => {
    const { logger, lines } = recordingLogger();
    for (const proxies of [byRanges('10.0.0.0/8'), hops(0)]) {
      lines.length = 0;
      const findClient = createClientLookup(proxies, logger);
      for (const forwardedFor of [undefined, '203.0.113.9', '10.0.0.1'])
        assert.deepEqual(
          findClient(requestOf('192.0.2.1', forwardedFor ? { 'x-forwarded-for': forwardedFor } : {})),
          { address: '192.0.2.1', proxied: false },
        );
      assert.deepEqual(
        lines.map(({ msg, address }) => [msg, address]),
        [['X-Forwarded-For from an untrusted address ignored', '192.0.2.1']],
      );
    }
  });
});

it('finds the client of each request on a connection with several clients', () => {
  const long = Array(100).fill('198.51.100.1').join(', ');
  for (const proxies of [hops(1), byRanges('10.0.0.0/8')]) {
    const findClient = createClientLookup(proxies, silentLogger());
    const { socket } = requestOf('10.0.0.1', {});
    for (const [forwardedFor, client] of [
      ['203.0.113.1', '203.0.113.1'],
      ['203.0.113.1', '203.0.113.1'],
      ['203.0.113.2', '203.0.113.2'],
      [`${long}, 203.0.113.3`, '203.0.113.3'],
      [undefined, '10.0.0.1'],
      [`${long}, 203.0.113.4`, '203.0.113.4'],
    ] as const) {
      const request = new IncomingMessage(socket);
      if (forwardedFor !== undefined) request.headers['x-forwarded-for'] = forwardedFor;
      assert.equal(findClient(request).address, client);
    }
  }
});

it('returns the address unknown for a closed connection', () => {
  for (const proxies of [hops(0), hops(1), byRanges('10.0.0.0/8')])
    assert.equal(clientOf(proxies, undefined).address, 'unknown');
});

/** Header values that a client might send: addresses, lists of addresses and arbitrary text. */
const headerText = fc.oneof(
  fc.string(),
  fc
    .array(
      fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('', 'unknown', '10.0.0.7', '[::1]:80', '10.1.2.3:80')),
      {
        maxLength: 20,
      },
    )
    .map((entries) => entries.join(', ')),
);
const clients = fc.oneof(fc.ipV4(), fc.constantFrom('10.1.2.3', '2001:db8::7', '2001:db8:1:2:3:4:5:6'));

it('ignores headers of the client, for any number of proxies', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 5 }),
      clients,
      fc.array(fc.nat({ max: 255 }), { minLength: 5, maxLength: 5 }),
      fc.option(headerText, { nil: undefined }),
      fc.dictionary(
        fc.constantFrom('forwarded', 'x-real-ip', 'true-client-ip', 'x-client-ip', 'x-forwarded-host'),
        headerText,
      ),
      (count, client, last, spoofed, others) => {
        // The outermost proxy comes first. Each one appends the address of its peer: the client or the previous proxy.
        const proxies = last.slice(0, count).map((byte) => `10.0.0.${byte}`);
        const seen = [client, ...proxies];
        const peer = seen.at(-1);
        const appended = [...(spoofed === undefined ? [] : [spoofed]), ...seen.slice(0, -1)];
        const headers = {
          ...others,
          ...(appended.length > 0 && { 'x-forwarded-for': appended.join(', ') }),
        };
        // A client in the trusted ranges cannot be distinguished from a proxy. Therefore wide ranges cause a warning.
        const rangeProxies = client.startsWith('10.') ? [] : [byRanges('10.0.0.0/8')];
        for (const trusted of [hops(count), ...rangeProxies]) {
          const { address } = createClientLookup(trusted, silentLogger())(requestOf(peer, headers));
          assert.equal(address, client);
        }
      },
    ),
    { numRuns: 1000 },
  );
});

it('uses no entry beyond the trusted number of hops', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      headerText,
      fc.array(fc.ipV4(), { maxLength: 6 }),
      (count, spoofed, entries) => {
        const list = [...(spoofed === '' ? [] : [spoofed]), ...entries];
        const { address } = clientOf(hops(count), '192.0.2.1', list.join(', '));
        if (entries.length >= count) assert.ok(entries.slice(-count).includes(address), address);
      },
    ),
  );
});
