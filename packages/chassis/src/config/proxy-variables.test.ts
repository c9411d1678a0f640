import assert from 'node:assert/strict';
import { it } from 'node:test';
import { z } from 'zod';
import { recordingLogger } from '../../testing/observed.ts';
import { StartupError } from '../startup-error.ts';
import { loadConfig } from './load-config.ts';
import { proxyVariables, trustedProxies } from './proxy-variables.ts';

function load(env: Record<string, string>) {
  const { logger, lines } = recordingLogger();
  const proxies = trustedProxies(loadConfig(z.object(proxyVariables()), env), logger);
  return { proxies, lines };
}

it('trusts no proxy if neither variable is set', () => {
  for (const env of [{}, { TRUSTED_PROXIES: '', TRUSTED_PROXY_HOPS: '' }, { TRUSTED_PROXY_HOPS: '0' }])
    assert.deepEqual(load(env).proxies, { hops: 0, ranges: undefined });
});

it('accepts the number of proxies or their addresses', () => {
  assert.equal(load({ TRUSTED_PROXY_HOPS: '2' }).proxies.hops, 2);
  const { proxies } = load({ TRUSTED_PROXIES: '10.244.0.0/16, 2001:db8::1', TRUSTED_PROXY_HOPS: '0' });
  assert.equal(proxies.hops, 0);
  for (const address of ['10.244.1.1', '2001:db8::1']) assert.equal(proxies.ranges?.contains(address), true);
});

it('rejects both variables together with exit code 78 and a hint', () => {
  assert.throws(
    () => load({ TRUSTED_PROXIES: '10.244.0.0/16', TRUSTED_PROXY_HOPS: '1' }),
    (error) => {
      assert.ok(error instanceof StartupError);
      assert.equal(error.exitCode, 78);
      assert.match(
        error.message,
        /^TRUSTED_PROXY_HOPS and TRUSTED_PROXIES are both set\. Set .*remove the other variable\.$/,
      );
      return true;
    },
  );
});

it('rejects invalid numbers and ranges, and names the variable', () => {
  for (const value of ['-1', '1.5', 'one', '17'])
    assert.throws(
      () => load({ TRUSTED_PROXY_HOPS: value }),
      /TRUSTED_PROXY_HOPS must be a whole number from 0 to 16/,
    );
  for (const value of ['ingress', '10.0.0.0/33', '10.0.0.0/8,', '10.0.0.0/8 172.16.0.0/12'])
    assert.throws(
      () => load({ TRUSTED_PROXIES: value }),
      /TRUSTED_PROXIES must be a comma-separated list of addresses or ranges/,
    );
});

it('warns at startup if a range is wider than networks of proxies', () => {
  const { lines } = load({
    TRUSTED_PROXIES: '10.0.0.0/8,10.244.0.0/16,172.16.0.0/12,::ffff:192.168.0.0/112',
  });
  assert.deepEqual(
    lines.map(({ level, msg, ranges }) => ({ level, msg, ranges })),
    [
      {
        level: 'warn',
        msg: 'TRUSTED_PROXIES may include clients',
        ranges: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'],
      },
    ],
  );
  for (const range of [
    '0.0.0.0/0',
    '128.0.0.0/1',
    '10.128.0.0/9',
    '100.64.0.0/10',
    '192.0.0.0/8',
    '192.168.1.0/16',
  ])
    assert.equal(load({ TRUSTED_PROXIES: range }).lines.length, 1, range);
  for (const range of [
    '::/0',
    '::/1',
    'fc00::/7',
    'fd00::/8',
    '::ffff:0:0/96',
    '::ffff:0:0/90',
    '::/80',
    '2000::/3',
  ])
    assert.equal(load({ TRUSTED_PROXIES: range }).lines.length, 1, range);
});

it('does not warn about ranges of clusters, hosts and content delivery networks', () => {
  for (const range of [
    '10.244.0.0/16',
    '10.96.0.0/12',
    '192.168.7.0/24',
    '172.18.0.0/16',
    '127.0.0.0/8',
    '::1',
    '192.0.2.7',
  ])
    assert.deepEqual(load({ TRUSTED_PROXIES: range }).lines, [], range);
  for (const range of [
    '104.16.0.0/13',
    '2a06:98c0::/29',
    '2600:9000::/28',
    'fd12:3456:789a::/48',
    '172.16.0.0/13',
  ])
    assert.deepEqual(load({ TRUSTED_PROXIES: range }).lines, [], range);
});
